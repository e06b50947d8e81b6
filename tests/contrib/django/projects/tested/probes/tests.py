"""What docs/django-testing.md promises, and more."""

import json
from unittest import skipIf
from urllib.request import urlopen

import gevent
from django.db import connection, transaction
from django.test import LiveServerTestCase, SimpleTestCase, TestCase, TransactionTestCase
from gevent.event import Event
from orders.models import Order

from amphora import RemoteException, Unroutable
from amphora.contrib.django import client, clients, server
from amphora.contrib.django.testing import ProjectServices, RpcTestMixin
from probes.models import Note


class SharedDataTests(RpcTestMixin, TestCase):
    """Handlers and tests see each other's uncommitted data."""

    @classmethod
    def setUpTestData(cls):
        Note.objects.create(text="of the class")

    def test_a_handler_sees_what_the_test_has_written(self):
        Note.objects.create(text="of the test")

        self.assertEqual(client.call.notes.list(), ["of the class", "of the test"])

    def test_the_test_sees_what_a_handler_has_written(self):
        client.call.notes.add("of a handler")

        self.assertEqual(Note.objects.count(), 2)

    def test_what_another_test_s_handler_wrote_is_gone(self):
        client.call.notes.add("of a handler")

        self.assertEqual(client.call.notes.list(), ["of a handler", "of the class"])

    def test_a_handler_may_call_a_handler(self):
        self.assertEqual(client.call.notes.add_through("n"), ["n", "n again", "of the class"])

    def test_a_greenlet_of_a_handler_may_call_a_handler(self):
        self.assertEqual(client.call.notes.add_through_greenlet("n"), ["n", "of the class"])

    def test_handlers_at_the_same_time_do_not_get_into_each_other_s_transactions(self):
        gevent.joinall([gevent.spawn(client.call.notes.add_slowly, str(n)) for n in range(5)], raise_error=True)

        self.assertEqual(Note.objects.count(), 6)

    def test_the_view_s_transaction_is_not_mixed_with_that_of_a_deferred_handler(self):
        with transaction.atomic():
            client.defer.notes.add_slowly("deferred")
            Note.objects.create(text="of the view")

        self.assertEqual(Note.objects.count(), 3)

    def test_a_handler_may_close_its_connections(self):
        self.assertEqual(client.call.notes.close(), ["of the class"])
        self.assertEqual(Note.objects.count(), 1)

    def test_atomic_requests_roll_back_what_a_failed_handler_wrote(self):
        with self.assertRaisesMessage(RemoteException, "ValueError: n"):
            clients["atomic"].call.notes.add_and_fail("n")

        self.assertEqual(client.call.notes.list(), ["of the class"])


class DeferredCallTests(RpcTestMixin, TestCase):
    """Deferred functions have run when `defer` returns."""

    def test_a_deferred_function_has_run(self):
        result = client.defer.notes.add("deferred")

        self.assertTrue(result.successful())
        self.assertEqual(Note.objects.count(), 1)

    def test_a_cast_function_has_run(self):
        client.cast.notes.add("cast")

        self.assertEqual(Note.objects.count(), 1)

    def test_a_service_that_runs_one_request_at_a_time_may_defer_to_itself(self):
        clients["atomic"].call.notes.add_by_two("n")

        self.assertIn("ValueError: n again", str(self.rpc.calls[-1].result.exception))
        self.assertEqual(client.call.notes.list(), ["n"])

    def test_calls_on_commit_are_sent_by_capture_on_commit_callbacks(self):
        with self.captureOnCommitCallbacks(execute=True) as callbacks:
            client.defer_on_commit.notes.add("on commit")
            self.assertEqual(self.rpc.calls, [])

        self.assertEqual(len(callbacks), 1)
        self.assertEqual(client.call.notes.list(), ["on commit"])

    def test_calls_on_commit_are_not_sent_if_the_transaction_is_rolled_back(self):
        with self.captureOnCommitCallbacks(execute=True):
            try:
                with transaction.atomic():
                    client.defer_on_commit.notes.add("on commit")
                    raise ValueError
            except ValueError:
                pass

        self.assertEqual(self.rpc.calls, [])

    def test_a_call_for_a_label_is_not_waited_for(self):
        client.create_new_request_queue("alice")

        result = client.defer(routing_key="alice").notes.add("for Alice")

        self.assertFalse(result.ready())
        self.assertEqual(server.receive_from_queue("alice", max_calls=1, timeout=30), 1)
        self.assertEqual(client.call.notes.list(), ["for Alice"])
        self.assertEqual(self.rpc.calls[0].routing_key, "alice")


class BackgroundTests(RpcTestMixin, TestCase):
    """Deferred functions run later where the class says so."""

    rpc_wait_for_deferred = False

    def setUp(self):
        """Let functions run until the test opens a gate."""
        super().setUp()
        self.gate = Event()
        self.addCleanup(self.gate.set)
        self.rpc.replace("notes.add", lambda text: self.gate.wait(60))

    def test_wait_waits_for_deferred_functions(self):
        results = [client.defer.notes.add(str(n)) for n in range(3)]
        self.assertFalse(any(result.ready() for result in results))

        self.gate.set()
        self.rpc.wait()

        self.assertTrue(all(result.ready() for result in results))

    def test_wait_tells_what_does_not_end(self):
        client.defer.notes.add("n")

        with self.assertRaisesMessage(AssertionError, "default: notes.add('n') has not ended within 0.01 s"):
            self.rpc.wait(timeout=0.01)


class RecordedCallTests(RpcTestMixin, TestCase):
    """Calls are recorded, and functions replaced."""

    def test_the_calls_of_handlers_are_recorded_too(self):
        client.call.notes.add_through("n")

        self.assertEqual([call.function for call in self.rpc.calls], ["notes.add_through", "notes.add"])
        self.assertEqual(self.rpc.assert_called("notes.add", "n again").result.get(), None)

    def test_an_assertion_that_fails_tells_the_calls(self):
        client.call.notes.add("n")

        with self.assertRaises(AssertionError) as failure:
            self.rpc.assert_called("notes.add", text="m")

        self.assertEqual(
            str(failure.exception),
            "notes.add(text='m') was not called. The calls that were made:\n  default: notes.add('n')",
        )
        with self.assertRaisesMessage(AssertionError, "notes.add was called"):
            self.rpc.assert_not_called("notes.add")

    def test_a_replaced_function_runs_instead(self):
        self.rpc.replace("notes.list", lambda: ["replaced"])

        self.assertEqual(client.call.notes.list(), ["replaced"])

    def test_a_service_of_others_is_played(self):
        self.rpc.replace("charge", self._refuse, alias="payments")

        with self.assertRaisesMessage(RemoteException, "PermissionError: no money"):
            clients["payments"].call.charge(1)

    def test_a_function_is_replaced_for_one_test_only(self):
        self.assertEqual(client.call.notes.list(), [])

    @staticmethod
    def _refuse(amount):
        raise PermissionError("no money")


class LeftoverTests(RpcTestMixin, TestCase):
    """No test finds the queues of another one."""

    def _send_to_a_queue_that_was_not_there(self):
        with self.assertRaises(Unroutable):
            client.call(routing_key="bob").notes.list()
        client.create_new_request_queue("bob")
        client.defer(routing_key="bob").notes.list()

    test_once = test_twice = _send_to_a_queue_that_was_not_there


class CommittingTests(RpcTestMixin, TransactionTestCase):
    """Handlers have connections of their own where tests commit."""

    def test_a_handler_sees_what_was_committed(self):
        Note.objects.create(text="of the test")
        client.call.notes.add("of a handler")

        self.assertEqual(client.call.notes.list(), ["of a handler", "of the test"])
        in_memory = connection.vendor == "sqlite"
        self.assertEqual(client.call.notes.connection() == id(connection.connection), in_memory)

    def test_calls_on_commit_are_sent_by_the_commit(self):
        with transaction.atomic():
            client.defer_on_commit.notes.add("on commit")
            self.assertEqual(self.rpc.calls, [])

        self.assertEqual(client.call.notes.list(), ["on commit"])

    @skipIf(connection.vendor == "sqlite", "its databases in memory are shared")
    def test_a_deferred_function_that_cannot_see_the_transaction_is_not_waited_for(self):
        with transaction.atomic():
            Note.objects.create(text="the same")
            result = client.defer.notes.add("the same")
            self.assertFalse(result.ready())

        self.rpc.wait()
        self.assertIn("IntegrityError", str(result.exception))


class LiveServerTests(RpcTestMixin, LiveServerTestCase):
    """Pages that a browser would ask for call RPC."""

    def test_a_page_of_the_live_server_calls_handlers(self):
        self.rpc.replace("charge", lambda amount: f"R-{amount}", alias="payments")
        order = Order.objects.create(total=5)

        with urlopen(f"{self.live_server_url}/orders/{order.pk}/pay", timeout=60) as page:
            self.assertEqual(json.load(page), {"receipt": "R-5.00"})

        self.rpc.assert_called("orders.thank", order.pk)


class NoDatabaseTests(RpcTestMixin, SimpleTestCase):
    """Handlers of a test without a database have none either."""

    def test_queries_are_refused(self):
        with self.assertRaisesMessage(RemoteException, "Database queries to 'default' are not allowed"):
            client.call.notes.list()


class EndTests(TestCase):
    """A handler that does not end is told of."""

    def test_a_function_that_still_runs_fails_the_test(self):
        begun, gate = Event(), Event()
        self.addCleanup(gate.set)
        services = ProjectServices(wait_for_deferred=False, grace=0.01)
        services.start()
        services.replace("notes.add", lambda text: (begun.set(), gate.wait(60)))
        client.defer.notes.add("n")
        self.assertTrue(begun.wait(60))

        with self.assertRaisesMessage(AssertionError, "Remote functions of 'default' still run after the test"):
            services.stop()
