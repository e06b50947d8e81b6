"""Whose error it is: what a server has decided, and what its functions raise, which may come from further calls."""

import pytest

from amphora import (
    AmqpRpcClient,
    AmqpRpcServer,
    DeadLettered,
    Forbidden,
    RemoteException,
    Unroutable,
    WrongRequest,
    WrongResult,
)
from tests.integration.conftest import NewClient, NewServer
from tests.integration.original import OriginalClient


@pytest.mark.parametrize("kind", [WrongRequest, DeadLettered, Forbidden, Unroutable])
def test_an_error_of_a_further_call_does_not_pass_for_one_of_this_call(
    new_server: NewServer, client: AmqpRpcClient, kind: type[Exception]
) -> None:
    effects: list[str] = []

    def outer() -> None:
        effects.append("paid")
        raise kind("of a further call")

    server = new_server(outer)

    with pytest.raises(RemoteException, match=f"{kind.__name__}: of a further call") as caught:
        client.call.outer()

    assert caught.value.error_type == kind.__name__
    assert effects == ["paid"]
    assert server.stats()["errors"] == 1
    assert server.stats()["wrong_requests"] == 0


def test_what_a_further_service_raised_is_the_cause_with_its_own_type_and_arguments(
    new_server: NewServer, new_client: NewClient, unique_name: object
) -> None:
    def inner() -> None:
        raise KeyError("order", 17)

    def middle() -> None:
        client.call.inner()

    def outer() -> None:
        client.call.middle()

    new_server(inner, middle, outer, concurrency=10)
    client = new_client()

    with pytest.raises(RemoteException, match="RemoteException: RemoteException: KeyError") as caught:
        client.call.outer()

    assert caught.value.error_type == "RemoteException"
    cause = caught.value.__cause__
    assert isinstance(cause, RemoteException)
    assert isinstance(cause.__cause__, RemoteException)
    assert (cause.__cause__.error_type, cause.__cause__.args) == ("KeyError", ("order", 17))


def test_what_the_server_has_decided_is_told_as_before(new_server: NewServer, client: AmqpRpcClient) -> None:
    server = new_server()

    with pytest.raises(WrongRequest, match="No function missing defined"):
        client.call.missing()
    assert server.stats()["wrong_requests"] == 1


def test_a_client_of_the_original_is_not_misled_either(
    new_server: NewServer, amqp_channel: object, service: str
) -> None:
    def outer() -> None:
        raise WrongRequest("of a further call")

    new_server(outer, connected=True)

    answer = OriginalClient(amqp_channel, service).call("outer")  # type: ignore[arg-type]

    assert answer["exception"] == {"type": "amphora.WrongRequest", "args": ["of a further call"]}


# What is too large to be read.


def test_the_caller_of_a_request_that_is_too_large_is_told_and_others_are_served(
    new_server: NewServer, client: AmqpRpcClient
) -> None:
    runs: list[int] = []

    def measure(text: str) -> int:
        runs.append(len(text))
        return len(text)

    server = new_server(measure, max_received_size=1000)

    with pytest.raises(WrongRequest, match=r"The request has 20\d\d bytes, and this server reads 1000 at most"):
        client.call.measure("x" * 2000)
    assert client.call.measure("x" * 900) == 900
    assert runs == [900]
    assert server.stats()["wrong_requests"] == 1


def test_a_reply_that_is_too_large_is_not_read(new_server: NewServer, new_client: NewClient) -> None:
    def repeat(count: int) -> str:
        return "x" * count

    new_server(repeat)
    client = new_client(max_received_size=1000)

    with pytest.raises(WrongResult, match=r"The reply has 20\d\d bytes, and this client reads 1000 at most"):
        client.call.repeat(2000)
    assert client.call.repeat(900) == "x" * 900


def test_sixteen_mebibytes_are_read_unless_told_otherwise(service: str) -> None:
    with AmqpRpcServer(service, broker_url="memory://") as server:
        server.add_function(len, "measure")
        server.serve()
        with AmqpRpcClient(service, broker_url="memory://", timeout=20) as client:
            assert client.call.measure("x" * (16 * 1024 * 1024 - 100)) > 0
            with pytest.raises(WrongRequest, match="max_received_size"):
                client.call.measure("x" * (16 * 1024 * 1024))
