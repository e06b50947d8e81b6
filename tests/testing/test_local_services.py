"""Services in the process of a test, with functions that the test chooses."""

from collections.abc import Iterator
from typing import Any

import gevent
import pytest
from gevent.event import Event

from amphora import AmqpRpcClient, AmqpRpcFanoutClient, AmqpRpcServer, RemoteException, WrongRequest
from amphora.testing import LocalServices
from tests.support.broker import Broker
from tests.support.eventually import wait_until


@pytest.fixture
def services() -> Iterator[LocalServices]:
    with LocalServices() as services:
        yield services


def program(service: str) -> Any:
    """Do what a program does that knows nothing of tests: it has a broker of its own."""
    with AmqpRpcClient(service, broker_url="amqp://127.0.0.1:1", timeout=30) as client:
        return client.call.orders.total(7, currency="EUR")


def test_a_program_s_client_reaches_the_functions_of_the_test(services: LocalServices, service: str) -> None:
    shop = services(service)
    shop.stub("orders.total", 42)

    assert program(service) == 42

    shop.assert_called("orders.total", 7, currency="EUR")
    assert [str(call) for call in shop.calls] == ["orders.total(7, currency='EUR')"]


def test_casts_are_recorded(services: LocalServices, service: str) -> None:
    shop = services(service, {"orders.thank": lambda number: number})
    with AmqpRpcClient(service, broker_url="amqp://127.0.0.1:1") as client:
        client.cast.orders.thank(7)

    wait_until(lambda: shop.calls)
    shop.assert_called("orders.thank", 7)


def test_a_stub_may_raise_and_may_be_a_function_and_the_last_one_holds(services: LocalServices, service: str) -> None:
    shop = services(service, {"orders.total": lambda number, **_: number})
    assert program(service) == 7

    shop.stub("orders.total", function=lambda number, currency: [number, currency])
    assert program(service) == [7, "EUR"]

    shop.stub("orders.total", LookupError("no such order"))
    with pytest.raises(RemoteException, match="LookupError: no such order"):
        program(service)
    assert len(shop.calls_of("orders.total")) == 3


def test_the_functions_of_a_program_s_own_server_can_be_called(services: LocalServices, service: str) -> None:
    server = AmqpRpcServer(service, broker_url="amqp://127.0.0.1:1")
    server.add_function(lambda x, y: x + y, "add")

    shop = services(service, server.functions)

    assert shop.client.call.add(1, 2) == 3
    with pytest.raises(WrongRequest, match="No function subtract defined"):
        shop.client.call.subtract(1, 2)


def test_what_was_not_called_is_told_with_what_was(services: LocalServices, service: str) -> None:
    shop = services(service)
    shop.stub("note")
    with pytest.raises(AssertionError, match=r"note\('b'\) was not called\. No calls were made\."):
        shop.assert_called("note", "b")
    shop.client.call.note("a", at=1)

    with pytest.raises(
        AssertionError, match=r"note\('b'\) was not called\. The calls that were made:\n  note\('a', at=1\)"
    ):
        shop.assert_called("note", "b")
    with pytest.raises(AssertionError, match="note was called"):
        shop.assert_not_called("note")
    shop.assert_not_called("other")


def test_headers_are_recorded(services: LocalServices, service: str) -> None:
    shop = services(service)
    shop.stub("note")

    @shop.client.add_middleware
    def say_who(request: Any, send: Any) -> Any:
        request.headers["user"] = "Alice"
        return send()

    shop.client.call.note()

    assert shop.assert_called("note").headers == {"user": "Alice"}


def test_a_fanout_service_is_one_too(services: LocalServices, service: str) -> None:
    news = services(service, fanout=True)
    news.stub("announce", "seen")

    with AmqpRpcFanoutClient(service, timeout=30) as client:
        assert client.call.announce("Lunch!") == "seen"


def test_after_the_test_the_program_has_its_own_broker_again(service: str) -> None:
    with LocalServices() as services:
        services(service)

    with AmqpRpcClient(service, broker_url="amqp://127.0.0.1:1") as client:
        assert client.broker == "amqp://guest@127.0.0.1:1//"


def test_a_function_that_still_runs_after_the_test_is_told(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("amphora.testing.service._PATIENCE", 0.1)
    let_go, begun = Event(), Event()

    def hold() -> None:
        begun.set()
        let_go.wait(30)

    services = LocalServices()
    services.__enter__()
    shop = services(service, {"hold": hold})
    shop.client.defer.hold()
    assert begun.wait(30)

    with pytest.raises(AssertionError, match=f"Remote functions of '{service}' still run"):
        services.__exit__(None, None, None)
    let_go.set()
    gevent.sleep(0)


def test_services_run_on_a_broker_too(broker: Broker, service: str) -> None:
    with LocalServices(broker.url) as services:
        shop = services(service)
        shop.stub("orders.total", 42)

        assert program(service) == 42
