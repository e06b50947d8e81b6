"""Middleware of clients and servers, over a broker and on `memory://`."""

from collections.abc import Callable
from typing import Any

import gevent
import pytest
from gevent.event import AsyncResult

from amphora import (
    AmqpRpcClient,
    AmqpRpcServer,
    CurrentRequest,
    IgnoreRequest,
    NoResult,
    OutgoingRequest,
    RemoteException,
    WrongRequest,
    current_request,
)
from tests.integration.conftest import NewClient, NewServer
from tests.integration.functions import Holding, Noting

Send = Callable[[], "AsyncResult[Any]"]
Pair = tuple[AmqpRpcServer, AmqpRpcClient]


def headers() -> dict[str, Any]:
    request = current_request()
    assert request is not None
    return dict(request.headers)


def fail() -> None:
    raise ValueError("on purpose")


@pytest.fixture(params=["broker", "memory"])
def pair(request: pytest.FixtureRequest, new_server: NewServer, new_client: NewClient) -> Pair:
    """A server of three functions and its client."""
    options = {} if request.param == "broker" else {"broker_url": "memory://"}
    return new_server(headers, fail, Noting(), **options), new_client(**options)


def test_a_servers_middleware_runs_around_every_function(pair: Pair) -> None:
    server, client = pair
    seen: list[tuple[CurrentRequest, Any]] = []

    @server.add_middleware
    def watch(request: CurrentRequest, call: Callable[[], Any]) -> Any:
        try:
            result = call()
        except ValueError as error:
            seen.append((request, error.args))
            raise
        seen.append((request, result))
        return {"watched": result}

    assert client.call.note(7) == {"watched": 7}
    with pytest.raises(RemoteException, match="ValueError: on purpose"):
        client.call.fail()
    with pytest.raises(WrongRequest):
        client.call.nothing()

    assert [(request.function, value) for request, value in seen] == [("note", 7), ("fail", ("on purpose",))]
    assert {request.client for request, _ in seen} == {client.uuid}


def test_a_servers_middleware_may_give_the_request_to_another_server(
    new_server: NewServer, client: AmqpRpcClient
) -> None:
    refusing, taking = Noting(), Noting()
    full = new_server(refusing, connected=True)

    @full.add_middleware
    def decline(request: CurrentRequest, call: Callable[[], Any]) -> Any:
        raise IgnoreRequest

    new_server(taking)

    assert [client.call.note(number) for number in range(5)] == list(range(5))
    assert refusing.runs == []


def test_headers_of_a_clients_middleware_reach_the_function(pair: Pair) -> None:
    _, client = pair

    @client.add_middleware
    def trace(request: OutgoingRequest, send: Send) -> "AsyncResult[Any]":
        request.headers |= {"trace": f"{request.function}{request.args}{request.kwargs}", "sampled": True, "n": -5}
        return send()

    assert client.call.headers() == {"trace": "headers(){}", "sampled": True, "n": -5}
    with_deadline = client.defer(expires=60).headers().get()
    assert with_deadline.keys() == {"trace", "sampled", "n", "x-amphora-deadline"}


def test_a_middleware_learns_how_a_call_ended(pair: Pair, unique_name: Callable[[str], str]) -> None:
    _, client = pair
    ends: list[Any] = []
    nobody = unique_name("nobody")
    client.create_new_request_queue(nobody, x_expires=60_000)

    @client.add_middleware
    def watch(request: OutgoingRequest, send: Send) -> "AsyncResult[Any]":
        result = send()
        result.rawlink(lambda done: ends.append((request.function, done.value, type(done.exception))))
        return result

    client.call.note("x")
    with pytest.raises(RemoteException):
        client.call.fail()
    with pytest.raises(NoResult):
        client.call(timeout=0.01, routing_key=nobody).note()

    assert ends == [
        ("note", "x", type(None)),
        ("fail", None, RemoteException),
        ("note", None, NoResult),
    ]


def test_a_middleware_learns_that_a_caller_was_ended(new_server: NewServer, client: AmqpRpcClient) -> None:
    holding = Holding()
    new_server(holding)
    ended: AsyncResult[Any] = AsyncResult()

    @client.add_middleware
    def watch(request: OutgoingRequest, send: Send) -> "AsyncResult[Any]":
        result = send()
        result.rawlink(lambda done: ended.set(done.exception))
        return result

    caller = gevent.spawn(client.call.hold)
    assert holding.began.wait(20)
    caller.kill()

    assert isinstance(ended.get(timeout=20), NoResult)
    holding.let_go.set()


def test_a_header_that_cannot_be_sent_fails_the_call_alone(pair: Pair) -> None:
    _, client = pair
    bad: dict[str, Any] = {"trace": object()}

    @client.add_middleware
    def trace(request: OutgoingRequest, send: Send) -> "AsyncResult[Any]":
        request.headers.update(bad)
        return send()

    with pytest.raises(TypeError, match="header 'trace'"):
        client.call.note()
    bad.clear()

    assert client.call.note("after") == "after"
    assert client.stats()["pending"] == 0


def test_what_a_clients_middleware_raises_the_caller_gets(pair: Pair) -> None:
    _, client = pair

    @client.add_middleware
    def forbid(request: OutgoingRequest, send: Send) -> "AsyncResult[Any]":
        raise PermissionError(request.function)

    with pytest.raises(PermissionError, match="note"):
        client.defer.note()


@pytest.mark.parametrize("side", [0, 1])
def test_only_a_callable_is_a_middleware(pair: Pair, side: int) -> None:
    with pytest.raises(TypeError, match="'nonsense' is not callable"):
        pair[side].add_middleware("nonsense")  # type: ignore[type-var]
