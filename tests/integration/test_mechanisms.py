"""Brokers that offer other SASL mechanisms than PLAIN."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import port_for
import pytest

from amphora import AccessRefused, AmqpRpcClient, AmqpRpcServer
from tests.conftest import StartBroker
from tests.support.broker import Broker
from tests.support.certificates import Authority


@contextmanager
def offering(broker: Broker, *mechanisms: str) -> Iterator[None]:
    """Have the node offer these mechanisms only, for a while."""

    def offer(names: tuple[str, ...]) -> None:
        broker.eval(f"application:set_env(rabbit, auth_mechanisms, [{', '.join(map(repr, names))}])")

    offer(mechanisms)
    try:
        yield
    finally:
        offer(("PLAIN", "AMQPLAIN"))


@pytest.fixture(params=["", "1"], ids=["direct", "stock"])
def transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Either transport."""
    monkeypatch.setenv("AMPHORA_STOCK_TRANSPORT", request.param)


def call_abs(service: str, url: str, **options: object) -> object:
    """Make a call between a server and a client of these addresses."""
    with AmqpRpcServer(service, broker_url=url, **options) as server:  # type: ignore[arg-type]
        server.add_function(abs)
        with AmqpRpcClient(service, broker_url=url, timeout=20, **options) as client:  # type: ignore[arg-type]
            return client.call.abs(-1)


@pytest.mark.usefixtures("transport")
def test_a_broker_that_offers_amqplain_only_is_logged_in_to(own_broker: Broker, service: str) -> None:
    with offering(own_broker, "AMQPLAIN"):
        assert call_abs(service, own_broker.url) == 1


@pytest.mark.expects_errors("cannot be logged in to")
@pytest.mark.usefixtures("transport")
@pytest.mark.parametrize("offered", ["ANONYMOUS", "RABBIT-CR-DEMO"])
@pytest.mark.expects_errors("offers", "refuses access", "EXTERNAL")
def test_a_broker_without_a_mechanism_to_use_is_an_error_that_says_so(
    own_broker: Broker, service: str, offered: str
) -> None:
    if offered == "ANONYMOUS" and own_broker.release < (4, 0):
        pytest.skip("RabbitMQ 3 has no ANONYMOUS")
    with (
        offering(own_broker, offered),
        AmqpRpcClient(service, broker_url=own_broker.url, timeout=20) as client,
        pytest.raises(AccessRefused, match=f"offers {offered} only, and Amphora logs in with PLAIN, AMQPLAIN or"),
    ):
        client.call.abs(-1)


@pytest.fixture
def external(start_broker: StartBroker, tmp_path: Path) -> tuple[Broker, str, dict[str, str]]:
    """A node that logs in by client certificate, its TLS address, and a certificate of the user `app`."""
    authority = Authority(tmp_path / "authority")
    port = port_for.select_random()
    listener = authority.listener(port, authority.issue("server", "localhost"), mutual=True)
    broker = start_broker({**listener, "ssl_cert_login_from": "common_name"})
    plugins = broker.directory / "plugins"
    plugins.write_text("[rabbitmq_auth_mechanism_ssl].\n")
    broker.eval(f'rabbit_plugins:ensure("{plugins}"), ok')
    broker.add_user("app", "of no use")
    return broker, f"amqps://app:wrong@localhost:{port}//", authority.issue("app", "app", user="app")


@pytest.mark.usefixtures("transport")
def test_a_client_certificate_logs_in_where_the_broker_offers_external_only(
    external: tuple[Broker, str, dict[str, str]], service: str
) -> None:
    broker, url, own = external
    with offering(broker, "EXTERNAL"):
        assert call_abs(service, url, ssl=own) == 1


@pytest.mark.expects_errors("is not that of a user")
@pytest.mark.expects_errors("offers", "refuses access", "EXTERNAL")
def test_a_client_certificate_of_no_user_is_an_error_that_says_so(
    external: tuple[Broker, str, dict[str, str]], service: str
) -> None:
    broker, url, own = external
    broker.delete_user("app")
    with (
        offering(broker, "EXTERNAL"),
        AmqpRpcClient(service, broker_url=url, timeout=20, ssl=own) as client,
        pytest.raises(AccessRefused, match="the client certificate is not that of a user of the broker"),
    ):
        client.call.abs(-1)


@pytest.mark.expects_errors("cannot be logged in to")
@pytest.mark.expects_errors("offers", "refuses access", "EXTERNAL")
def test_external_without_tls_is_an_error_that_says_what_to_do(
    external: tuple[Broker, str, dict[str, str]], service: str
) -> None:
    broker, _, _ = external
    with (
        offering(broker, "EXTERNAL"),
        AmqpRpcClient(service, broker_url=broker.url, timeout=20) as client,
        pytest.raises(AccessRefused, match="EXTERNAL, which logs in by a client certificate, use amqps://"),
    ):
        client.call.abs(-1)
