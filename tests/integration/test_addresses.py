"""How an endpoint finds its broker: URLs, single arguments, fail-over and TLS, over RabbitMQ."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import port_for
import pytest
import trustme

from amphora import AmqpRpcClient, AmqpRpcServer, BrokerUnreachable, NoResult
from tests.support.broker import Broker


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


def test_a_password_with_odd_characters_is_taken_from_the_url(broker: Broker, service: str) -> None:
    broker.add_user("odd", "a/b;c@d:#?%")
    url = f"amqp://odd:a%2Fb%3Bc%40d%3A%23%3F%25@127.0.0.1:{broker.port}//"

    with serve_echo(service, broker_url=url), AmqpRpcClient(service, timeout=20, broker_url=url) as client:
        assert client.call.echo("in") == "in"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls_url(
    authority: trustme.CA,
    tmp_path: Path,
    start_broker: Callable[[Mapping[str, str | int] | None], Broker],
) -> str:
    """The URL of a broker with a TLS port, whose certificate is for localhost."""
    port = port_for.select_random()
    certificate = authority.issue_cert("localhost")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    certificate.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    certificate.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    start_broker(
        {
            "listeners.ssl.1": f"127.0.0.1:{port}",
            "ssl_options.cacertfile": str(tmp_path / "ca.pem"),
            "ssl_options.certfile": str(tmp_path / "cert.pem"),
            "ssl_options.keyfile": str(tmp_path / "key.pem"),
        }
    )
    return f"amqps://guest:guest@localhost:{port}//"


def test_calls_go_over_tls_and_certificates_are_verified(tls_url: str, tmp_path: Path, service: str) -> None:
    trusted = {"ca_certs": str(tmp_path / "ca.pem")}

    with (
        serve_echo(service, broker_url=tls_url, ssl=trusted),
        AmqpRpcClient(service, timeout=30, broker_url=tls_url, ssl=trusted) as client,
    ):
        assert client.call.echo("x" * 1_000_000) == "x" * 1_000_000
        assert [each.get() for each in [client.defer.echo(number) for number in range(200)]] == list(range(200))

    with pytest.raises(BrokerUnreachable, match="certificate is not valid"):
        AmqpRpcClient(service, timeout=30, broker_url=tls_url).call.echo(1)
    with pytest.raises(BrokerUnreachable, match="Hostname mismatch"):
        AmqpRpcClient(
            service, timeout=30, broker_url=tls_url, ssl={**trusted, "server_hostname": "other.example"}
        ).call.echo(1)


def test_tls_to_a_plain_port_says_so(broker: Broker, service: str) -> None:
    url = broker.url.replace("amqp://", "amqps://")

    with AmqpRpcClient(service, timeout=2, broker_url=url) as client, pytest.raises(NoResult, match="is it a TLS port"):
        client.call.echo(1)
