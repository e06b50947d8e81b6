"""Database connections around requests: as few as there are requests, and none that is dead."""

import asyncio
import time
from unittest.mock import patch

import gevent
import pytest
from django.core.exceptions import SynchronousOnlyOperation
from django.db import connections, transaction
from django.db.backends.signals import connection_created
from django.dispatch import receiver
from gevent.event import Event

from amphora import RemoteException, current_request
from amphora.contrib.django.connections import idle_connections
from amphora.contrib.django.idle import IdleConnections
from amphora.contrib.django.signals import request_finished, request_started
from tests.contrib.django.serving.conftest import ALIAS
from tests.support.eventually import wait_until

#: Seconds for what takes long on a busy machine.
PATIENCE = 60.0


def backend_pid():
    """Ask the database which of its processes serves this connection."""
    with connections[ALIAS].cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return cursor.fetchone()[0]


def execute(sql):
    with connections[ALIAS].cursor() as cursor:
        cursor.execute(sql)


def outcome(result):
    """Wait for a deferred call: None where it succeeded, else what it raised at the server."""
    try:
        result.get(timeout=PATIENCE)
    except RemoteException as error:
        return error.error_type
    return None


@pytest.fixture
def meeting():
    """A place where handlers wait until the test lets them go."""

    class Meeting:
        def __init__(self):
            self.present = 0
            self.over = Event()

        def attend(self):
            self.present += 1
            self.over.wait(PATIENCE)

    return Meeting()


@pytest.mark.parametrize(
    ("concurrency", "database", "limit"),
    [
        pytest.param(200, {}, 200, id="200 requests"),
        pytest.param(30, {"CONN_MAX_AGE": 1}, 30, id="persistent"),
        pytest.param(30, {"OPTIONS": {"pool": {"min_size": 1, "max_size": 10}}}, 10, id="pool"),
    ],
)
def test_connections_stay_within_the_concurrency(
    postgres, database_name, use_postgres, start_service, meeting, concurrency, database, limit
):
    use_postgres(**database)
    service = start_service(CONCURRENCY=concurrency)
    most_open, made = 0, set()

    # Counted on this side: a process of the database ends some time after its connection was closed.
    @receiver(connection_created)
    def count(connection, **_):
        nonlocal most_open
        made.add(connection.connection)
        most_open = max(most_open, sum(not each.closed for each in made))

    @service.server.add_function
    def meet():
        pid = backend_pid()
        meeting.attend()
        return pid

    with service.server:
        together = [service.client.defer.meet() for _ in range(concurrency)]
        wait_until(lambda: meeting.present == limit, PATIENCE)
        meanwhile = postgres.connections(database_name)
        meeting.over.set()
        pids = [result.get(timeout=PATIENCE) for result in together]
        for result in [service.client.defer.meet() for _ in range(concurrency * 2)]:
            result.get(timeout=PATIENCE)

        assert (len(set(pids)), meanwhile) == (limit, limit)
        assert most_open == limit
        if "OPTIONS" not in database:
            # Nobody has a request any more, nor needs a connection.
            wait_until(lambda: postgres.connections(database_name) == 0, PATIENCE)


@pytest.mark.parametrize(
    "database", [pytest.param({}, id="one for each request"), pytest.param({"CONN_MAX_AGE": None}, id="persistent")]
)
@pytest.mark.expects_errors("OperationalError")
def test_calls_fail_only_while_the_database_is_down(postgres, use_postgres, start_service, meeting, database):
    use_postgres(**database)
    service = start_service(CONCURRENCY=10)
    service.server.add_function(backend_pid)

    @service.server.add_function
    def meet():
        backend_pid()
        meeting.attend()

    with service.server:
        # Several greenlets have a connection of their own.
        together = [service.client.defer.meet() for _ in range(4)]
        wait_until(lambda: meeting.present == 4, PATIENCE)
        meeting.over.set()
        gevent.wait(together)

        postgres.restart()
        after_restart = [outcome(service.client.defer.backend_pid()) for _ in range(10)]
        postgres.stop()
        meanwhile = outcome(service.client.defer.backend_pid())
        postgres.start()
        afterwards = [outcome(service.client.defer.backend_pid()) for _ in range(10)]

    assert after_restart == [None] * 10
    assert meanwhile == "OperationalError"
    assert afterwards == [None] * 10


def test_a_pool_with_health_checks_loses_no_call_by_a_restart(postgres, use_postgres, start_service):
    use_postgres(OPTIONS={"pool": {"min_size": 4, "timeout": PATIENCE}}, CONN_HEALTH_CHECKS=True)
    service = start_service(CONCURRENCY=10)
    service.server.add_function(backend_pid)

    with service.server:
        service.client.call.backend_pid()
        postgres.restart()
        ends = [outcome(service.client.defer.backend_pid()) for _ in range(10)]

    assert ends == [None] * 10


def test_a_persistent_connection_serves_many_requests_and_ends_with_its_greenlet(
    postgres, database_name, use_postgres, start_service
):
    use_postgres(CONN_MAX_AGE=None)
    service = start_service(CONCURRENCY=1)
    service.server.add_function(backend_pid)

    with service.server:
        pids = {service.client.call.backend_pid() for _ in range(5)}
        open_between = postgres.connections(database_name)

    assert (len(pids), open_between) == (1, 1)
    # `stop` lets the greenlets go: nobody will use the connection again.
    wait_until(lambda: postgres.connections(database_name) == 0, PATIENCE)
    assert len(idle_connections) == 0


def test_a_waiting_query_lets_other_requests_run(use_postgres, start_service):
    use_postgres()
    service = start_service()
    service.server.add_function(lambda: execute("SELECT pg_sleep(30)"), name="sleep")
    service.server.add_function(lambda: "still here", name="answer")

    with service.server:
        service.client.defer.sleep()
        wait_until(lambda: service.server.stats()["running"] == 1, PATIENCE)

        assert service.client.call.answer() == "still here"


def test_a_query_that_was_given_up_takes_its_connection_with_it(use_postgres, start_service):
    use_postgres(CONN_MAX_AGE=None)
    service = start_service(CONCURRENCY=1)
    service.server.add_function(backend_pid)

    @service.server.add_function
    def give_up():
        backend_pid()
        with gevent.Timeout(0.1, False):
            execute("SELECT pg_sleep(60)")
        return "tired"

    with service.server:
        assert service.client.call.give_up() == "tired"
        assert outcome(service.client.defer.backend_pid()) is None


@pytest.mark.expects_errors("SynchronousOnlyOperation")
def test_an_event_loop_in_one_function_keeps_no_other_from_the_database(
    postgres, database_name, use_postgres, start_service, meeting
):
    use_postgres(CONN_MAX_AGE=1)
    service = start_service(CONCURRENCY=10)
    service.server.add_function(backend_pid)

    @service.server.add_function
    def run_loop():
        async def query():
            return backend_pid()

        async def wait():
            meeting.present += 1
            while not meeting.over.is_set():
                await asyncio.sleep(0.01)
            return await query()

        return asyncio.run(wait())

    with service.server:
        running = service.client.defer.run_loop()
        wait_until(lambda: meeting.present == 1, PATIENCE)
        ends = [outcome(service.client.defer.backend_pid()) for _ in range(5)]
        # Also what runs in the background: connections that are too old are closed.
        wait_until(lambda: postgres.connections(database_name) == 0, PATIENCE)
        meeting.over.set()

        # The loop's own code must not block it.
        assert outcome(running) == "SynchronousOnlyOperation"
    assert ends == [None] * 5


def test_one_connection_that_does_not_close_leaves_no_other_open(caplog):
    idle, closed = IdleConnections(), []

    class Fake:
        """As little of Django's connection as it takes."""

        alias, in_atomic_block = "fake", False

        def __init__(self, errors):
            self.connection, self.close_at, self.errors = object(), time.monotonic(), errors

        def inc_thread_sharing(self): ...

        dec_thread_sharing = inc_thread_sharing

        def close(self):
            if self.errors:
                raise self.errors.pop()
            closed.append(self)

    unwilling = [SynchronousOnlyOperation(), SynchronousOnlyOperation()]
    fakes = [Fake(unwilling), Fake([RuntimeError("a driver's mistake")]), Fake([])]
    with patch("amphora.contrib.django.idle.connections.all", return_value=fakes):
        idle.park()
    wait_until(lambda: len(idle) == 0, PATIENCE)

    assert closed == [fakes[2], fakes[0]]
    assert "a driver's mistake" in caplog.text

    # Nor does it end those that are parked later.
    with patch("amphora.contrib.django.idle.connections.all", return_value=[Fake([])]):
        idle.park()
    wait_until(lambda: len(idle) == 0, PATIENCE)


@pytest.mark.expects_errors("ValueError")
def test_an_atomic_request_is_rolled_back_when_it_raises(postgres, database_name, use_postgres, start_service):
    use_postgres()
    postgres.query("CREATE TABLE notes (text text)", database=database_name)
    service = start_service(ATOMIC_REQUESTS=True, USING=ALIAS)

    @service.server.add_function
    def note(text, error=None):
        execute(f"INSERT INTO notes VALUES ('{text}')")
        if error is not None:
            raise ValueError(error)

    @service.server.add_function
    def note_in_time(text):
        note(text)
        transaction.on_commit(lambda: committed.append(text), using=ALIAS)
        assert committed == []

    committed = []
    exempt = transaction.non_atomic_requests(using=ALIAS)(lambda text: note(text, "too late"))
    service.server.add_function(exempt, name="note_at_once")
    with service.server:
        ends = [
            outcome(service.client.defer.note("rolled back", "no")),
            outcome(service.client.defer.note_in_time("committed")),
            outcome(service.client.defer.note_at_once("exempt")),
        ]

    assert ends == ["ValueError", None, "ValueError"]
    assert committed == ["committed"]
    assert sorted(postgres.query("SELECT text FROM notes", database=database_name)) == [("committed",), ("exempt",)]


@pytest.mark.expects_errors("Error calling", "IndexError")
def test_signals_tell_of_each_request(start_service):
    service = start_service()
    service.server.add_function(lambda: seen.append(current_request().function), name="good")
    service.server.add_function(lambda: [][1], name="bad")
    seen = []

    @receiver(request_started, sender=service.server)
    def on_start(request, **_):
        seen.append(("started", request.function))

    @receiver(request_finished, sender=service.server)
    def on_end(request, error, **_):
        seen.append(("finished", request.function, type(error)))
        raise RuntimeError("a receiver's mistake does not change the result")

    with service.server:
        ends = [outcome(service.client.defer.good()), outcome(service.client.defer.bad())]

    assert ends == [None, "IndexError"]
    assert seen == [
        ("started", "good"),
        "good",
        ("finished", "good", type(None)),
        ("started", "bad"),
        ("finished", "bad", IndexError),
    ]


def test_what_a_receiver_of_request_started_raises_fails_the_request(start_service):
    service = start_service()
    service.server.add_function(lambda: ran.append(True), name="run")
    ran = []

    @receiver(request_started, sender=service.server)
    def refuse(**_):
        raise PermissionError("closed on Sundays")

    with service.server:
        assert outcome(service.client.defer.run()) == "PermissionError"
    assert ran == []
