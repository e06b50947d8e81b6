"""A server process runs no request twice, whatever happens to the connections around it."""

from collections.abc import Callable

import pytest
from gevent.event import Event

from tests.acceptance.conftest import NewClient, NewServer
from tests.acceptance.connections import kill_connection
from tests.acceptance.work import Work
from tests.support.broker import Broker
from tests.support.eventually import wait_until
from tests.support.proxy import Proxy

StartProxy = Callable[[Broker], Proxy]


class Gated:
    """A function that waits until it may end, and counts its runs."""

    __name__ = "gated"

    def __init__(self) -> None:
        self.runs = 0
        self.begun, self.go_on = Event(), Event()

    def __call__(self) -> str:
        self.runs += 1
        self.begun.set()
        self.go_on.wait()
        return f"run {self.runs}"


def test_a_request_redelivered_while_it_runs_is_not_run_again(
    broker: Broker, service: str, new_client: NewClient, new_server: NewServer
) -> None:
    function, queue = Gated(), f"rpc_{service}_request"
    new_server(broker.url, function)
    client = new_client(broker.url)
    result = client.defer.gated()
    assert function.begun.wait(10)

    kill_connection(broker, f"{service} server consumer")
    wait_until(lambda: broker.queues()[queue].unacked == 1 and broker.queues()[queue].consumers == 1)
    function.go_on.set()

    assert result.get(timeout=10) == "run 1"
    wait_until(lambda: broker.queues()[queue].messages == 0, message="the redelivery is acknowledged")
    assert function.runs == 1


def test_a_request_redelivered_after_it_was_finished_is_not_run_again(
    broker: Broker, service: str, start_proxy: StartProxy, new_client: NewClient, new_server: NewServer
) -> None:
    function, proxy, queue = Gated(), start_proxy(broker), f"rpc_{service}_request"
    server = new_server(proxy.url, function, reconnect_delay_max=0.1)
    client = new_client(broker.url)
    result = client.defer.gated()
    assert function.begun.wait(10)

    # It ends while the server is cut off: neither its reply nor its acknowledgement gets through.
    proxy.refuse()
    proxy.cut()
    wait_until(lambda: not server.connected and broker.queues()[queue].ready == 1)
    function.go_on.set()
    proxy.accept()

    assert result.get(timeout=10) == "run 1"
    wait_until(lambda: broker.queues()[queue].messages == 0, message="the redelivery is acknowledged")
    assert function.runs == 1


def test_requests_published_again_after_lost_confirms_are_not_run_again(
    broker: Broker, service: str, start_proxy: StartProxy, new_client: NewClient, new_server: NewServer
) -> None:
    work, proxy = Work(), start_proxy(broker)
    new_server(broker.url, work)
    client = new_client(proxy.url)
    assert client.wait_connected(10)

    proxy.stall("to_client")
    results = [client.defer(wait_publish=False).work(number) for number in range(50)]
    wait_until(lambda: len(work.runs) == 50, message="all requests run")
    proxy.cut()
    proxy.resume()

    assert [result.get(timeout=20) for result in results] == list(range(50))
    # The requests that came twice have been dealt with by then.
    wait_until(lambda: broker.queues()[f"rpc_{service}_request"].messages == 0)
    assert client.call.work(50) == 50
    assert work.runs == dict.fromkeys(range(51), 1)


@pytest.mark.parametrize("times", [1, 3])
def test_a_reply_that_arrives_again_is_dropped(
    broker: Broker, service: str, new_client: NewClient, new_server: NewServer, times: int
) -> None:
    function = Gated()
    new_server(broker.url, function, abs)
    client = new_client(broker.url)
    result = client.defer.gated()
    assert function.begun.wait(10)

    for _ in range(times):
        kill_connection(broker, f"{service} server publisher")
        kill_connection(broker, f"{service} client consumer")
        wait_until(lambda: client.connected)
    function.go_on.set()

    assert result.get(timeout=10) == "run 1"
    assert client.call.abs(-1) == 1
    wait_until(lambda: all(queue.messages == 0 for name, queue in broker.queues().items() if service in name))
