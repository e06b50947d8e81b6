"""How an endpoint finds its broker: URLs, single arguments and fail-over, over RabbitMQ."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest

from amphora import AmqpRpcClient, AmqpRpcServer
from tests.support.broker import Broker
from tests.support.eventually import wait_until
from tests.support.proxy import Proxy


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that nobody listens on, kept from others."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]


def serve_echo(service: str, **options: object) -> AmqpRpcServer:
    server = AmqpRpcServer(service, **options)  # type: ignore[arg-type]
    server.add_function(lambda value: value, name="echo")
    server.serve()
    return server


def test_the_single_arguments_name_the_broker_port_included(broker: Broker, service: str) -> None:
    options = {"amqp_host": "127.0.0.1", "amqp_port": broker.port, "amqp_user": "guest", "amqp_vhost": "/"}

    with serve_echo(service, **options), AmqpRpcClient(service, timeout=20, **options) as client:  # type: ignore[arg-type]
        assert client.call.echo("here") == "here"


def test_the_next_address_is_taken_where_the_first_refuses(broker: Broker, service: str, closed_port: int) -> None:
    url = f"{broker.url_for(port=closed_port)};{broker.url}"

    with serve_echo(service, broker_url=url), AmqpRpcClient(service, timeout=20, broker_url=url) as client:
        assert client.call.echo("there") == "there"


def test_addresses_are_tried_in_their_order_and_from_the_beginning_after_the_last(
    broker: Broker, service: str, start_proxy: Callable[[Broker], Proxy]
) -> None:
    proxies = [start_proxy(broker) for _ in range(3)]
    first, second, third = proxies
    url = ";".join(proxy.url for proxy in proxies)

    def connections() -> list[int]:
        return [proxy.open_connections for proxy in proxies]

    def lose(proxy: Proxy) -> None:
        proxy.refuse()
        proxy.cut()

    with serve_echo(service, broker_url=broker.url), AmqpRpcClient(service, timeout=20, broker_url=url) as client:
        assert client.call.echo(1) == 1
        assert connections() == [2, 0, 0]

        lose(first)
        assert client.call.echo(2) == 2
        wait_until(lambda: connections() == [0, 2, 0])

        # That one is back is no reason to leave another.
        first.accept()
        lose(third)
        assert client.call.echo(3) == 3
        assert connections() == [0, 2, 0]

        lose(second)
        assert client.call.echo(4) == 4
        wait_until(lambda: connections() == [2, 0, 0])


def test_shuffled_addresses_spread_clients_over_all_of_them(
    broker: Broker, service: str, start_proxy: Callable[[Broker], Proxy]
) -> None:
    proxies = [start_proxy(broker) for _ in range(3)]
    url = ";".join(proxy.url for proxy in proxies)

    # After six clients or so; that a hundred of them miss one is as good as impossible.
    for _ in range(100):
        with AmqpRpcClient(service, broker_url=url, shuffle_brokers=True) as client:
            assert client.wait_connected(20)
            # Both connections go to the same one.
            assert sorted(proxy.open_connections for proxy in proxies) == [0, 0, 2]
        wait_until(lambda: not any(proxy.open_connections for proxy in proxies))
        if all(proxy.accepted for proxy in proxies):
            break

    assert all(proxy.accepted for proxy in proxies)


def test_a_password_with_odd_characters_is_taken_from_the_url(broker: Broker, service: str) -> None:
    broker.add_user("odd", "a/b;c@d:#?%")
    url = f"amqp://odd:a%2Fb%3Bc%40d%3A%23%3F%25@127.0.0.1:{broker.port}//"

    with serve_echo(service, broker_url=url), AmqpRpcClient(service, timeout=20, broker_url=url) as client:
        assert client.call.echo("in") == "in"
