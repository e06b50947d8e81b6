"""`run_servers` and `Serving` over RabbitMQ: until a signal, a refusal or a stop, and warm."""

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator

import amqp
import gevent
import pytest

from amphora import AmqpRpcClient, AmqpRpcServer, BrokerError, Serving, run_servers
from tests.integration.conftest import NewServer
from tests.integration.functions import Holding, Noting
from tests.support.broker import Broker
from tests.support.eventually import wait_until


def own_handlers() -> list[object]:
    return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]


@pytest.fixture
def handlers() -> list[object]:
    """The functions of the signals before the test."""
    return own_handlers()


@pytest.fixture
def meanwhile() -> Iterator[Callable[[Callable[[], object]], None]]:
    """Run a function while the test's greenlet serves; what it raises fails the test."""
    greenlets: list[gevent.Greenlet[[], object]] = []

    def start(function: Callable[[], object]) -> None:
        greenlets.append(gevent.spawn(function))

    yield start
    gevent.joinall(greenlets, timeout=30, raise_error=True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_when_the_running_requests_are_finished(
    number: signal.Signals,
    new_server: NewServer,
    client: AmqpRpcClient,
    hold: Holding,
    service: str,
    handlers: list[object],
    meanwhile: Callable[[Callable[[], object]], None],
) -> None:
    said: list[str] = []
    serving = Serving(said.append)
    serving.add(new_server(hold))
    result = client.defer.hold()

    def end() -> None:
        assert hold.began.wait(30)
        wait_until(lambda: said != [], 30)
        os.kill(os.getpid(), number)
        wait_until(lambda: len(said) == 2, 30)
        hold.let_go.set()

    meanwhile(end)

    assert serving.run() is True
    assert result.get(timeout=30) == "done"
    assert said == [
        f"{service}: ready, taking requests from rpc_{service}_request (0 waiting)",
        f"{number.name}: stopping (again to stop at once); waiting for 1 running request",
    ]
    assert serving.failed is None
    assert own_handlers() == handlers


def test_what_takes_longer_than_its_grace_goes_back_to_the_queue(
    new_server: NewServer,
    client: AmqpRpcClient,
    hold: Holding,
    broker: Broker,
    service: str,
    caplog: pytest.LogCaptureFixture,
    meanwhile: Callable[[Callable[[], object]], None],
) -> None:
    caplog.set_level(logging.INFO, "amphora.server.serving")
    server = new_server(hold)
    client.defer.hold()

    def end() -> None:
        assert hold.began.wait(30)
        os.kill(os.getpid(), signal.SIGTERM)

    meanwhile(end)

    assert run_servers(server, grace=0) is False
    assert "SIGTERM: stopping (again to stop at once); waiting for 1 running request" in caplog.messages
    wait_until(lambda: broker.queues()[f"rpc_{service}_request"].ready == 1, 30)
    hold.let_go.set()


def test_it_serves_labels_and_says_when_all_servers_are_ready_and_ends_when_all_are_stopped(
    new_server: NewServer,
    client: AmqpRpcClient,
    note: Noting,
    alice: str,
    unique_name: Callable[[str], str],
    meanwhile: Callable[[Callable[[], object]], None],
) -> None:
    said: list[str] = []
    servers = [new_server(note), new_server(service_name=unique_name("other"))]

    def on_ready() -> None:
        said.append("all ready")
        servers[1].stop()
        meanwhile(end)

    def end() -> None:
        assert client.call(routing_key=alice).note() == "done"
        servers[0].prepare_stop()
        servers[0].stop()

    serving = Serving(said.append, on_ready)
    serving.add(servers[0], labels=[alice], name="first")
    serving.add(servers[1], name="second")

    assert serving.run() is True
    assert {line.partition(": ready")[0] for line in said[:2]} == {"first", "second"}
    assert said[2:] == ["all ready", "all servers have stopped"]


def test_it_says_how_many_dead_letters_there_are(
    new_server: NewServer, broker: Broker, service: str, meanwhile: Callable[[Callable[[], object]], None]
) -> None:
    server = new_server(delivery_limit=3)
    kept = f"rpc_{service}_dead"
    with server:
        wait_until(lambda: kept in broker.queues(), 30)
    with broker.channel() as channel:
        channel.basic_publish(amqp.Message(b"given up"), routing_key=kept)
    wait_until(lambda: broker.queues()[kept].ready == 1, 30)
    said: list[str] = []
    serving = Serving(said.append, on_ready=lambda: meanwhile(server.stop))
    serving.add(server)

    serving.run()

    waiting = f"rpc_{service}_request (0 waiting)"
    assert said[0] == f"{service}: ready, taking requests from {waiting}; dead letters: 1 in {kept}"


def test_a_server_that_a_function_stops_leaves_what_it_runs_to_others_and_is_not_waited_for(
    client: AmqpRpcClient, broker: Broker, service: str
) -> None:
    # (It does not serve yet: `serve` after `stop` would let it serve again.)
    server = AmqpRpcServer(service, broker_url=broker.url)
    server.add_function(server.stop, name="leave")
    client.defer.leave()

    assert run_servers(server, grace=None) is False
    wait_until(lambda: broker.queues()[f"rpc_{service}_request"].ready == 1, 30)


def test_the_program_ends_it_too_and_may_leave_less_grace(
    new_server: NewServer,
    client: AmqpRpcClient,
    hold: Holding,
    meanwhile: Callable[[Callable[[], object]], None],
) -> None:
    said: list[str] = []
    serving = Serving(said.append)
    serving.add(new_server(hold), grace=None)
    client.defer.hold()

    def end() -> None:
        assert hold.began.wait(30)
        serving.end("the code has changed", grace=0)

    meanwhile(end)

    assert serving.run() is False
    assert said[-1] == "the code has changed; waiting for 1 running request"
    hold.let_go.set()


@pytest.mark.expects_errors("refuses access")
def test_a_refusal_of_the_broker_ends_all_and_is_raised(
    new_server: NewServer, broker: Broker, handlers: list[object]
) -> None:
    good = new_server()
    refused = AmqpRpcServer("refused", broker_url=broker.url_for(password="wrong"))
    serving = Serving()
    serving.add(good)
    serving.add(refused)

    with pytest.raises(BrokerError, match="wrong user or password"):
        serving.run()

    assert serving.failed == "refused"
    assert not good.connected
    assert own_handlers() == handlers


def test_a_signal_that_is_ignored_stays_ignored(
    new_server: NewServer, meanwhile: Callable[[Callable[[], object]], None]
) -> None:
    said: list[str] = []
    serving = Serving(said.append)
    serving.add(new_server())

    def end() -> None:
        wait_until(lambda: said != [], 30)
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        meanwhile(end)
        serving.run()
    finally:
        signal.signal(signal.SIGINT, before)

    assert said[-1] == "SIGTERM: stopping (again to stop at once)"


def test_it_needs_a_server_and_the_main_thread(new_server: NewServer) -> None:
    with pytest.raises(ValueError, match="there is no server to serve"):
        run_servers()

    server = new_server()
    refused: list[str] = []

    def run() -> None:
        try:
            run_servers(server)
        except ValueError as error:
            refused.append(str(error))

    # A real one: `threading` is gevent's here.
    gevent.get_hub().threadpool.apply(run)

    assert "main thread" in refused[0]
    assert threading.current_thread() is threading.main_thread()
