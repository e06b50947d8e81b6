"""A client's casts: requests that get no reply, each from its request until the broker has confirmed or refused it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from time import monotonic
from typing import Any

from gevent.event import AsyncResult

from amphora.client.call_tracker import CallTracker, of_call
from amphora.client.lifetimes import Lifetime
from amphora.core.messages import OutgoingMessage
from amphora.endpoint.log_fields import request_fields
from amphora.exceptions import AmqpRpcException, NoResult, RequestStage
from amphora.links.publisher import Publisher
from amphora.logs.note_log import NoteLogger
from amphora.protocol.headers import CAST

__all__ = ["Cast", "Casts"]

logger = NoteLogger(__name__)


class Cast:
    """A request without a reply.

    Args:
        id: Its message id.
        function: Name of the remote function.
        timeout: Seconds that the caller waits for the broker, or None.
        result: Gets None when the broker has confirmed it, or the error; None where nothing looks at it.

    Attributes:
        message: What is published.
        waiting: Whether the caller is told of an error by raising it.
    """

    __slots__ = ("function", "id", "message", "result", "timeout", "waiting")

    def __init__(
        self,
        id: str,  # noqa: A002  (what it is called everywhere)
        function: str,
        timeout: float | None,
        result: AsyncResult[Any] | None,
    ) -> None:
        self.id = id
        self.function = function
        self.timeout = timeout
        self.result = result
        self.waiting = False
        self.message: OutgoingMessage


class Casts:
    """Sends casts and notes which of them the broker has refused.

    Args:
        name: What operators see in the log.
        calls: Writes the requests.
        publisher: Takes them.
        reply_to: What casts for servers of 0.1 have as ``reply_to``.
    """

    def __init__(self, name: str, calls: CallTracker, publisher: Publisher, *, reply_to: str) -> None:
        self._name = name
        self._calls = calls
        self._publisher = publisher
        self._reply_to = reply_to
        self._waiting: dict[Cast, None] = {}
        # Casts that were refused without their callers learning of it: all of them, and those `flush` has told.
        self._failed = self._told = 0
        self._sent = self._refused = 0

    def stats(self) -> dict[str, int]:
        """Return the counts that `AmqpRpcClient.stats` documents."""
        return {"casts": self._sent, "refused_casts": self._refused}

    def send(
        self,
        function: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        lifetime: Lifetime,
        routing_key: str,
        watched: bool,
        awaited: bool,
        legacy: bool = False,
        headers: Mapping[str, Any] | None = None,
    ) -> Cast:
        """Send a request without a reply.

        Args:
            function: Name of the remote function.
            args: Its arguments.
            kwargs: Its keyword arguments.
            lifetime: How long getting into the outbox may take, and when the request expires.
            routing_key: Routing key of the request.
            watched: Whether the cast is to have a ``result``.
            awaited: Whether the caller will `wait` for it, which raises its error.
            legacy: Whether servers of 0.1 run it too.
            headers: Further headers of the message, checked by `check_headers`.

        Raises:
            Backlogged: The outbox stayed full.
            MessageTooLarge: The request is larger than allowed.
            TypeError: An argument cannot be encoded.
        """
        timeout, ends = lifetime
        cast = Cast(self._calls.new_id(), function, timeout, AsyncResult() if watched else None)
        cast.waiting = awaited
        cast.message = message = self._calls.write(
            cast.id,
            function,
            args,
            kwargs,
            partial(self._on_published, cast),
            routing_key=routing_key,
            ends=ends,
            reply_to=self._reply_to if legacy else None,
            headers={**(headers or {}), CAST: True} if legacy else headers,
        )
        try:
            self._publisher.publish(message, deadline=None if timeout is None else monotonic() + timeout)
        except AmqpRpcException as error:
            raise of_call(error, cast).with_traceback(error.__traceback__) from error.__cause__
        self._sent += 1
        return cast

    def wait(self, cast: Cast, deadline: float | None) -> None:
        """Wait until the broker has confirmed a cast that is watched.

        Args:
            cast: It.
            deadline: Time (`time.monotonic`) until which to wait; None for no limit.

        Raises:
            NoResult: It has not, in time; the request is kept and may still be sent, until it expires.
            AmqpRpcException: The broker refused it.
        """
        result = cast.result
        if result is None:
            raise ValueError("this cast is not watched")
        if not result.ready():
            self._waiting[cast] = None
            try:
                result.wait(None if deadline is None else max(0.0, deadline - monotonic()))
            finally:
                cast.waiting = False
                self._waiting.pop(cast, None)
        if not result.ready():
            raise self._unconfirmed(cast, f"within {cast.timeout:g} s")
        result.get()

    def forget(self, cast: Cast) -> None:
        """Nothing waits for this cast any more; it is sent all the same."""
        cast.waiting = False

    def end_waiting(self, *, only_endless: bool) -> None:
        """End the waits for the broker, as the client stops; the requests are kept."""
        for cast in list(self._waiting):
            if (cast.timeout is None or not only_endless) and cast.result is not None:
                cast.result.set_exception(self._unconfirmed(cast, "before the client was stopped"))
                # What becomes of it is logged, and told by `flush`.
                cast.result, cast.waiting = None, False

    def flush(self, timeout: float | None) -> bool:
        """Wait until everything sent so far has its outcome; return whether no cast was refused since the last one."""
        told = self._told
        done = self._publisher.drain(timeout)
        confirmed = done and self._failed == told
        self._told = self._failed
        return confirmed

    def _on_published(self, cast: Cast, _: OutgoingMessage, error: AmqpRpcException | None) -> None:
        result = cast.result
        if error is None:
            if result is not None:
                result.set(None)
            return
        self._refused += 1
        own = of_call(error, cast)
        if not cast.waiting:
            self._failed += 1
            logger.error(
                "%s: cast %s of %r is lost: %s",
                self._name,
                cast.id,
                cast.function,
                error,
                extra=request_fields(cast.id, cast.function),
                once=("cast is lost", self._name, type(error)),
            )
        if result is not None:
            result.set_exception(own)

    def _unconfirmed(self, cast: Cast, when: str) -> NoResult:
        link, sent = self._publisher.link, cast.message.sent
        how_far = "sent, but not confirmed" if sent else "not sent"
        return NoResult(
            f"The broker did not confirm the cast of {cast.function!r} {when}. The request was {how_far} "
            f"({link.name}: {link.state}); it is kept and may still be sent",
            stage=RequestStage.SENT if sent else RequestStage.NOT_SENT,
            timeout=cast.timeout,
            function=cast.function,
            request_id=cast.id,
        )
