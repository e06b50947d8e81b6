"""`client.cast` over RabbitMQ: requests that run and get no reply."""

import logging
from typing import Any

import gevent
import pytest
from gevent.event import Event

from amphora import (
    AmqpRpcClient,
    AmqpRpcFanoutClient,
    AmqpRpcFanoutServer,
    AmqpRpcServer,
    NoResult,
    OutgoingRequest,
    Unroutable,
    current_request,
)
from tests.conftest import StartProgram
from tests.integration.conftest import NewClient, NewServer
from tests.integration.functions import Noting
from tests.support.broker import Broker
from tests.support.eventually import wait_until


def count(broker: Broker, queue: str) -> int:
    """Return how many messages a queue has, unacknowledged ones included."""
    found = broker.queues().get(queue)
    return 0 if found is None else found.messages


@pytest.mark.parametrize("queue_type", ["classic", "quorum"])
def test_a_cast_runs_and_gets_no_reply(new_server: NewServer, new_client: NewClient, queue_type: str) -> None:
    requests: list[Any] = []

    def note(value: Any) -> Any:
        requests.append((value, current_request()))
        return value

    server = new_server(note, queue_type=queue_type)
    client = new_client(queue_type=queue_type)

    assert client.cast.note([1]) is None

    wait_until(lambda: requests)
    [(value, request)] = requests
    assert (value, request.client) == ([1], None)
    wait_until(lambda: server.stats()["running"] == 0)
    assert server.stats()["undeliverable"] == 0
    stats = client.stats()
    assert (stats["casts"], stats["late_replies"], stats["pending"]) == (1, 0, 0)


def test_functions_may_be_called_cast_and_flush(new_server: NewServer, client: AmqpRpcClient) -> None:
    runs: list[str] = []
    server = new_server()
    for name in ("cast", "flush", "cast.flush"):
        server.add_function(lambda name=name: runs.append(name) or name, name)

    assert client.call.cast() == "cast"
    assert client.call.flush() == "flush"
    client.cast.cast()
    client.cast.flush()
    client.cast.cast.flush()

    wait_until(lambda: len(runs) == 5)
    assert sorted(runs[2:]) == ["cast", "cast.flush", "flush"]


def test_flush_waits_until_the_broker_has_every_cast(new_server: NewServer, client: AmqpRpcClient) -> None:
    work = Noting()
    new_server(work)

    for number in range(1000):
        client.cast(wait_publish=False, function_name=work.__name__)(number)

    assert client.flush(30)
    assert client.stats()["outbox"] == 0
    wait_until(lambda: len(work.runs) == 1000)


def test_flush_without_casts_returns_true_at_once(client: AmqpRpcClient) -> None:
    assert client.flush(0)


@pytest.mark.expects_errors("is lost: ")
def test_flush_tells_once_that_a_cast_was_lost(client: AmqpRpcClient) -> None:
    client.cast(wait_publish=False, routing_key="nowhere").work()

    assert not client.flush(30)
    assert client.flush(30)
    assert client.stats()["refused_casts"] == 1


def test_a_cast_that_no_queue_takes_raises(client: AmqpRpcClient) -> None:
    with pytest.raises(Unroutable) as raised:
        client.cast(routing_key="nowhere").work()

    assert raised.value.function == "work"
    assert client.flush(30)


def test_casts_are_kept_while_the_broker_is_away(
    new_server: NewServer, new_client: NewClient, own_broker: Broker
) -> None:
    work = Noting()
    new_server(work, broker_url=own_broker.url)
    client = new_client(broker_url=own_broker.url)
    client.call(function_name=work.__name__)(0)
    own_broker.stop()

    client.cast(wait_publish=False, function_name=work.__name__)(1)
    with pytest.raises(NoResult, match="it is kept and may still be sent"):
        client.cast(timeout=0.1, function_name=work.__name__)(2)
    assert not client.flush(0.1)
    own_broker.start()

    assert client.flush(60)
    wait_until(lambda: len(work.runs) >= 3, 60)


@pytest.mark.expects_errors("cast '.*' of 'fail' raised")
def test_a_cast_that_raises_is_logged_with_its_id(
    new_server: NewServer, client: AmqpRpcClient, caplog: pytest.LogCaptureFixture
) -> None:
    ids: list[str | None] = []

    def fail() -> None:
        request = current_request()
        ids.append(request and request.id)
        raise ValueError("odd")

    server = new_server(fail)

    client.cast.fail()

    wait_until(lambda: server.stats()["errors"] == 1 and server.stats()["running"] == 0)
    wait_until(lambda: any(each.levelno == logging.ERROR for each in caplog.records))
    [record] = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert str(ids[0]) in record.getMessage()
    assert record.exc_info is not None
    assert len(ids) == 1


@pytest.mark.expects_errors("cast '.*' of 'fail' raised")
@pytest.mark.parametrize("queue_type", ["classic", "quorum"])
def test_a_cast_that_raises_is_tried_again_and_dead_lettered(
    new_server: NewServer, new_client: NewClient, broker: Broker, service: str, queue_type: str
) -> None:
    runs: list[int] = []

    def fail(number: int) -> None:
        runs.append(number)
        raise ValueError("odd")

    server = new_server(fail, delivery_limit=3, ignore_delay=0.01, queue_type=queue_type)
    client = new_client(delivery_limit=3, queue_type=queue_type)

    client.cast.fail(7)

    wait_until(lambda: count(broker, f"rpc_{service}_dead") == 1, 60)
    assert runs == [7] * 3
    assert server.stats()["dead_lettered"] == 1
    wait_until(lambda: server.stats()["running"] == 0)


@pytest.mark.expects_errors("cast '.*' of 'unstable' raised")
def test_a_cast_that_succeeds_at_last_is_acknowledged(
    new_server: NewServer, new_client: NewClient, broker: Broker, service: str
) -> None:
    runs: list[int] = []

    def unstable() -> None:
        runs.append(1)
        if len(runs) < 3:
            raise OSError("not now")

    server = new_server(unstable, delivery_limit=5, ignore_delay=0.01)

    new_client(delivery_limit=5).cast.unstable()

    wait_until(lambda: len(runs) == 3 and server.stats()["running"] == 0, 60)
    wait_until(lambda: count(broker, f"rpc_{service}_request") == 0)
    assert count(broker, f"rpc_{service}_dead") == 0


def test_a_cast_to_an_unknown_function_is_kept_with_its_body(
    new_server: NewServer, new_client: NewClient, broker: Broker, service: str
) -> None:
    new_server(delivery_limit=3)

    new_client(delivery_limit=3).cast.nothing(5)

    dead = f"rpc_{service}_dead"
    wait_until(lambda: count(broker, dead) == 1, 60)
    with broker.channel() as channel:
        message = channel.basic_get(dead)
    assert b"nothing" in message.body.encode() if isinstance(message.body, str) else message.body


def test_a_cast_is_acknowledged_only_after_it_ran(new_server: NewServer, client: AmqpRpcClient) -> None:
    began, release = Event(), Event()
    runs: list[str] = []

    def first() -> None:
        began.set()
        release.wait(30)

    server = new_server()
    server.add_function(first, "work")
    client.cast.work()
    assert began.wait(30)
    server.stop()
    other = new_server()
    other.add_function(lambda: runs.append("again"), "work")

    wait_until(lambda: runs, 60)
    release.set()


def test_a_redelivery_of_a_cast_that_has_run_does_not_run_again(
    new_server: NewServer, client: AmqpRpcClient, broker: Broker
) -> None:
    began, release = Event(), Event()
    runs: list[int] = []

    def work() -> None:
        runs.append(1)
        began.set()
        release.wait(30)

    server = new_server(work)
    client.cast.work()
    assert began.wait(30)
    broker.close_all_connections()
    release.set()

    wait_until(lambda: server.stats()["duplicates"] + server.stats()["running"] == 1, 60)
    wait_until(lambda: server.stats()["running"] == 0, 60)
    assert client.wait_connected(30)
    assert client.call(function_name="work")() is None
    assert len(runs) == 2


def test_an_expired_cast_does_not_run(new_server: NewServer, new_client: NewClient) -> None:
    work = Noting()
    server = new_server(work)
    client = new_client()
    client.call(function_name=work.__name__)(0)
    server.stop()

    client.cast(expires=0.05, function_name=work.__name__)(1)
    gevent.sleep(0.1)
    server.serve()

    client.call(function_name=work.__name__)(2)
    assert len(work.runs) == 2


def test_every_fanout_server_runs_a_cast(new_server: NewServer, new_client: NewClient) -> None:
    works = [Noting(), Noting()]
    for work in works:
        assert new_server(work, cls=AmqpRpcFanoutServer).wait_connected(30)
    client = new_client(cls=AmqpRpcFanoutClient)

    client.cast(function_name=works[0].__name__)(1)

    wait_until(lambda: all(work.runs for work in works))


def test_signed_casts_run(new_server: NewServer, new_client: NewClient) -> None:
    work = Noting()
    server = new_server(work, signing_keys=[b"0123456789abcdef"])
    client = new_client(signing_keys=[b"0123456789abcdef"])

    client.cast(function_name=work.__name__)(1)
    client.cast(function_name=work.__name__, legacy=True)(2)

    wait_until(lambda: len(work.runs) == 2)
    assert server.stats()["untrusted"] == 0


def test_a_server_of_now_does_not_reply_to_a_legacy_cast(new_server: NewServer, client: AmqpRpcClient) -> None:
    work = Noting()
    server = new_server(work)

    client.cast(function_name=work.__name__, legacy=True)(1)

    wait_until(lambda: work.runs and server.stats()["running"] == 0)
    assert client.call(function_name=work.__name__)(2) is not Ellipsis
    assert client.stats()["late_replies"] == 0


def test_a_refusal_during_a_middleware_is_raised_and_not_counted_as_lost(
    new_server: NewServer, client: AmqpRpcClient
) -> None:
    @client.add_middleware
    def linger(request: OutgoingRequest, send: Any) -> Any:
        result = send()
        wait_until(lambda: client.stats()["refused_casts"] == 1)
        return result

    # (An ERROR record would fail this test.)
    with pytest.raises(Unroutable):
        client.cast(routing_key="nowhere").note(1)

    assert client.flush(20) is True


def test_middleware_learns_that_the_broker_has_a_cast(new_server: NewServer, client: AmqpRpcClient) -> None:
    new_server(Noting())
    ends: list[Any] = []

    @client.add_middleware
    def watch(request: OutgoingRequest, send: Any) -> Any:
        request.headers["x-mine"] = 1
        result = send()
        result.rawlink(lambda done: ends.append((request.one_way, done.exception)))
        return result

    client.cast.note(1)

    wait_until(lambda: ends)
    assert ends == [(True, None)]


@pytest.mark.expects_errors("is lost: the test is over")
def test_a_cast_without_a_timeout_ends_when_the_client_is_stopped(new_client: NewClient) -> None:
    client = new_client(broker_url="amqp://127.0.0.1:1", timeout=None)
    casting = gevent.spawn(client.cast.work)
    wait_until(lambda: client.stats()["outbox"] == 1)

    client.stop()

    with pytest.raises(NoResult, match="before the client was stopped"):
        casting.get(timeout=30)


@pytest.mark.expects_errors("of 'note' is lost: no queue takes messages")
def test_a_threaded_client_casts_and_the_exit_waits_for_them(
    new_server: NewServer, note: Noting, broker: Broker, service: str, start_program: StartProgram
) -> None:
    new_server(note, connected=True)

    program = start_program("tests/integration/unpatched_caster.py", broker.url, service, 100)

    assert program.wait(60) == 0
    wait_until(lambda: len(note.runs) == 101, 60)
    assert note.runs[0] == -1
    assert "flushed False True" in program.output


def test_casts_over_memory(service: str, note: Noting) -> None:
    with (
        AmqpRpcServer(service, broker_url="memory://") as server,
        AmqpRpcClient(service, broker_url="memory://") as client,
    ):
        server.add_function(note, "note")
        client.cast.note(1)
        client.cast(wait_publish=False).note(2)
        assert client.flush(30)
        wait_until(lambda: len(note.runs) == 2)


@pytest.mark.expects_errors("cast '.*' of 'fail' raised")
def test_a_cast_over_memory_is_tried_again_and_given_up(service: str) -> None:
    runs: list[int] = []

    def fail() -> None:
        runs.append(1)
        raise ValueError("odd")

    options: dict[str, Any] = {"broker_url": "memory://", "delivery_limit": 2}
    with AmqpRpcServer(service, ignore_delay=0.01, **options) as server, AmqpRpcClient(service, **options) as client:
        server.add_function(fail)
        client.cast.fail()
        wait_until(lambda: server.stats()["dead_lettered"] == 1)
    assert len(runs) == 2
