"""Lines that are slow but not broken: what has to wait behind much data is waited for."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gevent
import pytest
from gevent import socket

from amphora import AmqpRpcClient, AmqpRpcServer
from tests.support.broker import Broker
from tests.support.eventually import wait_until
from tests.support.proxy import Proxy

MB = 1_000_000

pytestmark = pytest.mark.parametrize("stock", ["0", "1"], ids=["direct", "stock"])


@pytest.fixture(autouse=True)
def _transport(stock: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMPHORA_STOCK_TRANSPORT", stock)


@pytest.fixture
def proxy(broker: Broker, start_proxy: Callable[[Broker], Proxy]) -> Proxy:
    return start_proxy(broker)


def size_of(text: str) -> int:
    return len(text)


@pytest.mark.timeout(90)
def test_a_command_behind_a_large_request_is_waited_for(
    broker: Broker, proxy: Proxy, service: str, unique_name: Callable[[str], str]
) -> None:
    server = AmqpRpcServer(service, broker_url=broker.url, max_received_size=64 * MB)
    server.add_function(size_of)
    client = AmqpRpcClient(service, broker_url=proxy.url, connect_timeout=2.0, timeout=60)
    with server, client:
        # Eight times as much as is sent within the time that an answer has, and not too large for RabbitMQ 4 (16 MiB).
        client.call.size_of("")
        proxy.throttle(MB)
        result = client.defer(wait_publish=False).size_of("x" * 16 * MB)

        client.create_new_request_queue(unique_name("label"))

        assert client.stats()["reconnects"] == 0
        proxy.throttle(None)
        assert result.get() == 16 * MB


@pytest.mark.timeout(90)
def test_a_server_of_large_requests_is_connected_over_a_slow_line(broker: Broker, proxy: Proxy, service: str) -> None:
    with AmqpRpcServer(service, broker_url=broker.url):
        pass
    client = AmqpRpcClient(service, broker_url=broker.url, timeout=80)
    server = AmqpRpcServer(service, broker_url=proxy.url, connect_timeout=1.0, concurrency=2)
    server.add_function(size_of)
    proxy.throttle(2 * MB)
    with client:
        results = [client.defer.size_of("x" * 8 * MB) for _ in range(2)]
        wait_until(lambda: broker.queues()[f"rpc_{service}_request"].ready == len(results), 30)
        with server:
            server.wait_connected(30)

            assert [result.get() for result in results] == [8 * MB] * 2
            assert server.stats()["reconnects"] == 0


@contextmanager
def bad_address(port: int, *, drops: bool) -> Iterator[str]:
    """Accept connections at another address of this machine, say nothing, and drop them or not; yield the address."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.2", port))
        listener.listen(16)
        kept = []

        def accept() -> None:
            while True:
                accepted, _ = listener.accept()
                if drops:
                    accepted.close()
                else:
                    kept.append(accepted)

        acceptor = gevent.spawn(accept)
        try:
            yield "127.0.0.2"
        finally:
            acceptor.kill()
            for accepted in kept:
                accepted.close()


@pytest.mark.parametrize("drops", [False, True], ids=["silent", "dropping"])
def test_the_next_address_of_a_host_name_is_tried_where_the_first_one_does_not_talk_amqp(
    proxy: Proxy, service: str, drops: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve = socket.getaddrinfo
    url = f"amqp://guest:guest@two.example:{proxy.port}//"

    with bad_address(proxy.port, drops=drops) as bad:

        def two_addresses(host: str, *args: Any) -> Any:
            if host != "two.example":
                return resolve(host, *args)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, proxy.port)) for each in (bad, "127.0.0.1")]

        monkeypatch.setattr(socket, "getaddrinfo", two_addresses)
        server = AmqpRpcServer(service, broker_url=url, connect_timeout=1.0)
        server.add_function(size_of)
        with server, AmqpRpcClient(service, broker_url=url, connect_timeout=1.0, timeout=30) as client:
            assert client.call.size_of("abc") == 3
