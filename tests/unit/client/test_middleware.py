"""A client's middleware around sending, without a broker."""

from collections.abc import Callable
from typing import Any

import pytest
from gevent.event import AsyncResult

from amphora import AmqpRpcException, OutgoingRequest
from amphora.client.middleware import send_through
from amphora.core.calls import PendingCall
from amphora.server.middleware import around_function

Send = Callable[[], "AsyncResult[Any]"]


class Sender:
    """Sends nothing, and notes what it was to send or to forget."""

    def __init__(self) -> None:
        self.sent: list[OutgoingRequest] = []
        self.forgotten: list[PendingCall] = []
        self.call = PendingCall("1", "add", None, AsyncResult())

    def send(self, request: OutgoingRequest) -> PendingCall:
        self.sent.append(request)
        return self.call

    def through(self, *middleware: Any) -> PendingCall:
        return send_through(
            middleware, OutgoingRequest("add", (1,), {}, ""), send=self.send, forget=self.forgotten.append
        )


@pytest.fixture
def sender() -> Sender:
    return Sender()


def test_the_first_one_is_the_outermost(sender: Sender) -> None:
    def outer(request: OutgoingRequest, send: Send) -> "AsyncResult[Any]":
        request.headers["by"] = "outer"
        return send()

    def inner(request: OutgoingRequest, send: Send) -> "AsyncResult[Any]":
        request.headers["by"] += " inner"
        return send()

    call = sender.through(outer, inner)

    assert call is sender.call
    assert [each.headers for each in sender.sent] == [{"by": "outer inner"}]


def test_what_was_sent_has_its_id(sender: Sender) -> None:
    ids: list[str | None] = []

    def note(request: OutgoingRequest, send: Send) -> "AsyncResult[Any]":
        ids.append(request.id)
        result = send()
        ids.append(request.id)
        return result

    sender.through(note)

    assert ids == [None, sender.call.id]


def test_what_does_not_send_is_told_so(sender: Sender) -> None:
    with pytest.raises(TypeError, match=r"must return what send\(\) returned, not None \(calling 'add'\)"):
        sender.through(lambda *_: None)

    assert sender.sent == []
    assert sender.forgotten == []


@pytest.mark.parametrize("wrong", [lambda _, send: send() and None, lambda _, send: (send(), 1 / 0)])
def test_a_call_is_forgotten_whose_middleware_fails_after_sending(sender: Sender, wrong: Any) -> None:
    with pytest.raises((TypeError, ZeroDivisionError)):
        sender.through(wrong)

    assert sender.forgotten == [sender.call]


def test_nothing_is_sent_twice(sender: Sender) -> None:
    with pytest.raises(RuntimeError, match="twice"):
        sender.through(lambda _, send: (send(), send())[0])

    assert len(sender.sent) == 1


def test_a_servers_middleware_needs_a_request() -> None:
    with pytest.raises(AmqpRpcException, match="there is none"):
        around_function(lambda _, call: call(), lambda: 1)
