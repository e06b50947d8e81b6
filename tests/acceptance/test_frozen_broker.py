"""A broker that is frozen: it keeps its connections and answers nothing. Nothing hangs, and all goes on after it."""

import time
from functools import partial

import gevent
import pytest
from gevent.event import Event

from amphora import BrokerUnreachable, NoResult
from tests.acceptance.conftest import NewClient, NewServer
from tests.acceptance.load import outcome_of
from tests.acceptance.work import Work
from tests.support.broker import Broker
from tests.support.eventually import wait_until

#: Seconds within which everything must end that waits for a frozen broker.
DEADLINE = 20


def test_calls_end_in_time_and_what_was_held_runs_once_the_broker_goes_on(
    own_broker: Broker, new_client: NewClient, new_server: NewServer
) -> None:
    work = Work()
    new_server(own_broker.url, work, heartbeat=1, connect_timeout=1)
    client = new_client(own_broker.url, heartbeat=1, connect_timeout=1)
    assert client.call.work(0) == 0

    own_broker.pause()
    held = [client.defer(wait_publish=False).work(number) for number in range(1, 100)]
    began = time.monotonic()
    with pytest.raises(NoResult):
        client.call(timeout=2).work(100)
    with pytest.raises(NoResult):
        client.defer(timeout=0.1).work(101)
    assert time.monotonic() - began < DEADLINE
    wait_until(lambda: not client.connected, message="the silence is noticed")
    own_broker.resume()

    assert [result.get(timeout=20) for result in held] == list(range(1, 100))
    assert set(work.runs.values()) == {1}
    assert client.call.work(102) == 102


def test_clients_and_servers_stop_in_time_and_serve_again(
    own_broker: Broker, new_client: NewClient, new_server: NewServer
) -> None:
    server, client = new_server(own_broker.url, abs), new_client(own_broker.url)
    assert client.call.abs(-1) == 1

    own_broker.pause()
    held = client.defer(wait_publish=False).abs(-2)
    stopping = [gevent.spawn(client.stop), gevent.spawn(server.stop)]
    gevent.joinall(stopping, timeout=DEADLINE, raise_error=True)
    assert all(greenlet.ready() for greenlet in stopping)
    own_broker.resume()
    client.serve()
    server.serve()

    assert held.get(timeout=20) == 2


@pytest.mark.parametrize("timeout", [0, 1])
def test_prepare_stop_takes_no_longer_than_its_timeout(
    own_broker: Broker, new_client: NewClient, new_server: NewServer, monkeypatch: pytest.MonkeyPatch, timeout: float
) -> None:
    monkeypatch.setattr("amphora.server.server._ANSWER", 60.0)
    begun, go_on = Event(), Event()

    def work() -> None:
        begun.set()
        go_on.wait()

    server, client = new_server(own_broker.url, work), new_client(own_broker.url)
    client.defer.work()
    assert begun.wait(20)

    own_broker.pause()
    finished = gevent.spawn(server.prepare_stop, timeout)

    assert finished.get(timeout=DEADLINE) is False
    own_broker.resume()
    go_on.set()


def test_declarations_end_in_time(own_broker: Broker, service: str, new_client: NewClient) -> None:
    client = new_client(own_broker.url, timeout=1)
    assert client.wait_connected(10)

    own_broker.pause()
    began = time.monotonic()
    with pytest.raises(BrokerUnreachable, match="creating queue"):
        client.create_new_request_queue(f"{service}_label")
    with pytest.raises(BrokerUnreachable, match="deleting queue"):
        client.remove_request_queue(f"{service}_label")
    took = time.monotonic() - began
    own_broker.resume()

    assert took < DEADLINE


def test_a_client_may_start_while_the_broker_is_frozen(
    own_broker: Broker, new_client: NewClient, new_server: NewServer
) -> None:
    own_broker.pause()
    new_server(own_broker.url, abs, connect_timeout=1)
    client = new_client(own_broker.url, connect_timeout=1)
    held = client.defer(wait_publish=False).abs(-1)
    wait_until(lambda: "no answer" in str(outcome_of(partial(client.call(timeout=0.1).abs, -2))))

    own_broker.resume()

    assert held.get(timeout=20) == 1
