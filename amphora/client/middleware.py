"""Middleware of clients: runs around the sending of every call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar, cast

from gevent.event import AsyncResult

from amphora.client.casts import Cast
from amphora.core.calls import PendingCall

__all__ = ["ClientMiddleware", "OutgoingRequest", "send_through"]


@dataclass(slots=True)
class OutgoingRequest:
    """A request that is about to be sent; see `AmqpRpcClient.add_middleware`. Only its headers may be changed.

    Attributes:
        function (str): Name of the remote function.
        args (tuple): Its arguments.
        kwargs (dict[str, object]): Its keyword arguments.
        routing_key (str): Routing key of the request.
        headers (dict[str, object]): Header table of the message, to which a middleware may add: text, numbers,
            booleans and None, of 3072 bytes together. Names that begin with ``x-amphora-`` are reserved.
        one_way (bool): Whether it is a cast: what sending returns is set when the broker has confirmed the request.
        id (str | None): Its message id, which the server finds in `CurrentRequest.id`; None until it is sent.
    """

    function: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    routing_key: str
    headers: dict[str, Any] = field(default_factory=dict)
    one_way: bool = False
    id: str | None = None


#: Takes the request and a function that sends it; returns what that returns.
ClientMiddleware = Callable[[OutgoingRequest, Callable[[], "AsyncResult[Any]"]], "AsyncResult[Any]"]


Sent = TypeVar("Sent", PendingCall, Cast)


def send_through(
    middleware: Sequence[ClientMiddleware],
    request: OutgoingRequest,
    *,
    send: Callable[[OutgoingRequest], Sent],
    forget: Callable[[Sent], None],
) -> Sent:
    """Send a request through a client's middleware, the first of which is the outermost.

    Args:
        middleware: All of the client's.
        request: What is to be sent.
        send: Sends it.
        forget: Told of a call that was sent, and that is not awaited because a middleware failed after that.

    Raises:
        TypeError: A middleware returned something else than the result that sending gave it.
        Exception: What a middleware, or sending, raised.
    """
    sent: list[Sent] = []

    def send_once() -> AsyncResult[Any]:
        if sent:
            raise RuntimeError(f"a middleware sent the request to {request.function!r} twice")
        sent.append(send(request))
        request.id = sent[0].id
        return cast("AsyncResult[Any]", sent[0].result)

    step: Callable[[], AsyncResult[Any]] = send_once
    for each in reversed(middleware):
        step = partial(each, request, step)
    try:
        result = step()
        if not sent or result is not sent[0].result:
            raise TypeError(
                f"a middleware of a client must return what send() returned, not {result!r} "
                f"(calling {request.function!r})"
            )
    except BaseException:
        if sent:
            forget(sent[0])
        raise
    return sent[0]
