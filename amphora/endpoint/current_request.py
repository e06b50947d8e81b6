"""`current_request`: what a remote function may know about the request that it runs for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from time import time
from types import MappingProxyType
from typing import Any

from amphora.driver.incoming_message import IncomingMessage
from amphora.protocol.deadlines import deadline_of
from amphora.protocol.messages import message_id_of

__all__ = [
    "CurrentRequest",
    "call_deadline",
    "current_deadline",
    "current_request",
    "deadline_limit",
    "enter_request",
    "running_request",
]

#: The delivery, and the name of the function; what functions see is made when one asks for it. Servers set it.
running_request: ContextVar[tuple[IncomingMessage, str] | None] = ContextVar("amphora_request", default=None)

#: A deadline (`time.time`) that the program itself has set for calls; see `call_deadline`.
deadline_limit: ContextVar[float | None] = ContextVar("amphora_call_deadline", default=None)


@dataclass(frozen=True, slots=True)
class CurrentRequest:
    """The request that a remote function runs for; see `current_request`.

    Attributes:
        id (str | None): Its message id, by which client and server tell it from others; a request that
            is delivered again keeps it. None if a foreign client sent none.
        client (str | None): Uuid of the client that waits for the reply; None if no client does.
        function (str): Name of the function, as the client called it.
        deadline (float | None): Time (`time.time`, in seconds) after which no client waits for the reply
            any more; None if the client set no ``expires``.
        user (str | None): The user of the broker who has sent it, if its client was made with ``identify=True``.
            RabbitMQ refuses a message that names another user than that of its connection (unless that user has the
            tag ``impersonator``).
        redelivered (bool): Whether the broker has delivered it before, here or elsewhere: it may have
            run, in part or whole.
        headers (Mapping[str, object]): Header table of the message; read-only, and empty if it has none.
    """

    id: str | None
    client: str | None
    function: str
    deadline: float | None
    redelivered: bool
    headers: Mapping[str, Any]
    user: str | None = None

    @property
    def remaining(self) -> float | None:
        """Seconds until the deadline, 0.0 when it has passed; None if there is none."""
        return None if self.deadline is None else max(0.0, self.deadline - time())


def current_request() -> CurrentRequest | None:
    """Return the request for which the calling function runs; None outside of a remote function.

    A context variable holds it. A greenlet that a remote function spawns starts with an empty context,
    so there it is None too, unless the context is handed over: ``gevent.spawn(copy_context().run,
    function)``, with `contextvars.copy_context`.
    """
    running = running_request.get()
    if running is None:
        return None
    delivery, function = running
    properties = delivery.properties
    return CurrentRequest(
        id=message_id_of(properties),
        client=properties.get("reply_to") or None,
        function=function,
        deadline=deadline_of(properties),
        redelivered=delivery.redelivered,
        headers=MappingProxyType(properties.get("headers") or {}),
        user=properties.get("user_id") or None,
    )


def enter_request(delivery: IncomingMessage, function: str) -> None:
    """Make a request the current one, until the end of the calling context."""
    running_request.set((delivery, function))


@contextmanager
def call_deadline(deadline: float | None) -> Iterator[None]:
    """Give the calls that are made within a ``with`` block a deadline.

    ::

        with call_deadline(time.time() + 5):
            client.call.search("x")

    It is what a remote function's calls inherit from its own request (see docs/deadlines.md): no call waits
    longer, and what has not begun to run by then does not. Blocks nest; the earliest deadline holds, that of
    the current request included. A context variable holds it, see `current_request`.

    Args:
        deadline: Time (`time.time`, in seconds); None for no change.

    Raises:
        ValueError: It is not a number.
    """
    if deadline is not None and deadline != deadline:
        raise ValueError("a deadline is a time in seconds, not nan")
    outer = deadline_limit.get()
    token = deadline_limit.set(outer if deadline is None else deadline if outer is None else min(outer, deadline))
    try:
        yield
    finally:
        deadline_limit.reset(token)


def current_deadline() -> float | None:
    """Return the deadline (`time.time`) of the current request and of `call_deadline`; None if there is none."""
    running = running_request.get()
    limit = deadline_limit.get()
    deadline = None if running is None else deadline_of(running[0].properties)
    return limit if deadline is None else deadline if limit is None else min(deadline, limit)
