"""Calls that are sent when the transaction commits, over SQLite."""

from contextlib import contextmanager, suppress

import gevent
import pytest
from django.db import connections, transaction
from django.test import TestCase
from django.utils.translation import gettext_lazy

from amphora import NoResult
from amphora.contrib.django import client, server
from tests.support.eventually import wait_until


class Cancelled(Exception):
    """Rolls a transaction back."""


@contextmanager
def rolled_back():
    """Open a transaction, or a savepoint in one, that is rolled back."""
    with suppress(Cancelled), transaction.atomic():
        yield
        raise Cancelled


@pytest.fixture
def seen(database):
    """Serve a function that notes what reaches it, and whether a transaction was open in the caller then."""
    calls = []

    def note(*args):
        calls.append(args)

    server.add_function(note, "noted.on_commit")
    with server:
        yield calls
    del server._functions["noted.on_commit"]
    connections.close_all()


def arrived(seen, *expected):
    """Wait until exactly these calls have arrived, in their order, and none behind them."""
    client.call(function_name="noted.on_commit")("last")
    assert seen == [(each,) for each in expected] + [("last",)]


def test_a_call_is_sent_when_the_transaction_commits(seen):
    with transaction.atomic():
        assert client.defer_on_commit.noted.on_commit("one") is None
        client.call.noted.on_commit("before the commit")

    arrived(seen, "before the commit", "one")


def test_a_cast_is_sent_when_the_transaction_commits(seen):
    with transaction.atomic():
        assert client.cast_on_commit(legacy=False).noted.on_commit("one") is None
        client.call.noted.on_commit("before the commit")

    arrived(seen, "before the commit", "one")


def test_a_call_is_not_sent_when_the_transaction_is_rolled_back(seen):
    with rolled_back():
        client.defer_on_commit.noted.on_commit("one")

    arrived(seen)


def test_a_savepoint_that_is_rolled_back_takes_its_calls_with_it(seen):
    with transaction.atomic():
        client.defer_on_commit.noted.on_commit("outer")
        with rolled_back():
            client.defer_on_commit.noted.on_commit("inner")
        client.defer_on_commit.noted.on_commit("outer again")

    arrived(seen, "outer", "outer again")


def test_outside_of_a_transaction_a_call_is_sent_at_once(seen):
    client.defer_on_commit.noted.on_commit("at once")

    wait_until(lambda: seen == [("at once",)])


def test_the_options_of_defer_are_options_here_too(seen):
    with transaction.atomic():
        deferred = client.defer_on_commit(function_name="noted.on_commit", wait_publish=False, timeout=20, expires=True)
        deferred("one")

    arrived(seen, "one")
    with pytest.raises(TypeError, match=r"unknown option 'tiemout'; did you mean 'timeout'\?"):
        client.defer_on_commit(tiemout=5)


def test_another_database_s_transaction_can_be_meant(seen, tmp_path):
    connections.settings["other"] = {**connections.settings["default"], "NAME": str(tmp_path / "other.sqlite3")}
    try:
        with transaction.atomic(using="other"):
            client.defer_on_commit.noted.on_commit("default")
            client.defer_on_commit(using="other").noted.on_commit("other")
            client.call.noted.on_commit("inside")
    finally:
        connections["other"].close()
        del connections["other"], connections.settings["other"]

    arrived(seen, "default", "inside", "other")


def test_an_argument_that_cannot_be_encoded_is_an_error_before_the_commit(seen):
    @transaction.atomic
    def view():
        client.defer_on_commit.noted.on_commit("rolled back")
        client.defer_on_commit.noted.on_commit(object())

    with pytest.raises(TypeError, match=r"arguments of 'noted\.on_commit' cannot be encoded as application/json"):
        view()

    arrived(seen)


def test_a_lazy_string_is_encoded(seen):
    client.defer_on_commit.noted.on_commit(gettext_lazy("Yes"))

    arrived(seen, "Yes")


def test_a_queryset_is_sent_as_it_was_before_the_commit(seen):
    from django.contrib.auth.models import Group  # noqa: PLC0415  (apps are loaded by the conftest)

    with transaction.atomic():
        Group.objects.create(name="editors")
        client.defer_on_commit.noted.on_commit(Group.objects.values_list("name", flat=True))
        Group.objects.update(name="writers")

    arrived(seen, ["editors"])
    Group.objects.all().delete()


@pytest.mark.expects_errors("Error calling", "had not confirmed 2 requests when the client was stopped")
def test_an_error_of_sending_reaches_whoever_committed_unless_it_is_robust(seen):
    server.stop()
    server.reset()
    client.reset()
    client.override(autostart=False)
    try:
        with pytest.raises(NoResult, match="stopped"), transaction.atomic():
            client.defer_on_commit(timeout=0.1).noted.on_commit("lost")
        with transaction.atomic():
            client.defer_on_commit(timeout=0.1, robust=True).noted.on_commit("lost")
    finally:
        client._alias._overrides.clear()
        client.reset()


def test_each_greenlet_has_its_own_transaction(seen):
    def commit_or_not(number):
        with rolled_back() if number % 2 else transaction.atomic():
            client.defer_on_commit.noted.on_commit(number)
            gevent.sleep(0)
        connections.close_all()

    gevent.joinall([gevent.spawn(commit_or_not, number) for number in range(10)], raise_error=True)

    client.call.noted.on_commit("last")
    assert sorted(args[0] for args in seen[:-1]) == [0, 2, 4, 6, 8]


class OfATestCase(TestCase):
    """What Django's own TestCase offers works with it."""

    def test_captured_callbacks_send(self):
        """See `django.test.TestCase.captureOnCommitCallbacks`."""
        with self.captureOnCommitCallbacks() as callbacks:
            client.defer_on_commit.noted.on_commit("captured")

        assert len(callbacks) == 1
        assert not client.made


@pytest.fixture(autouse=True)
def _database_of_test_cases(database):
    """Give the TestCase above a migrated database."""
