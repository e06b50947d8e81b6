"""A client's calls that wait for their replies, each with a deadline."""

from __future__ import annotations

import math
from collections.abc import Callable
from time import monotonic
from typing import Any

from gevent import get_hub
from gevent.event import AsyncResult, Event

from amphora.core.messages import OutgoingMessage
from amphora.exceptions import AmqpRpcException
from amphora.interrupts import contained, from_signal
from amphora.logs.note_log import NoteLogger

__all__ = ["PendingCall", "PendingCalls"]

logger = NoteLogger(__name__)


class PendingCall:
    """One call on its way.

    Attributes:
        id: The request's message id.
        message: The request, while it is pending.
        function: Name of the remote function.
        timeout: Seconds that the caller gives it, or None.
        result: Where the caller gets the result.
        accepted: Whether the broker has confirmed the request.
        refused: The error, if the request can never reach a queue, or the deadline has passed.
        decided: Set when the request is accepted or refused, where somebody waits for that.
        ignored: How many replies were ignored because their signatures did not fit.
        distrusted: Why the last one was.
    """

    __slots__ = (
        "accepted",
        "decided",
        "distrusted",
        "function",
        "id",
        "ignored",
        "message",
        "refused",
        "result",
        "timeout",
    )

    def __init__(self, call_id: str, function: str, timeout: float | None) -> None:
        self.id = call_id
        self.function = function
        self.timeout = timeout
        self.result: AsyncResult[Any] = AsyncResult()
        self.message: OutgoingMessage | None = None
        self.accepted = False
        self.refused: AmqpRpcException | None = None
        self.decided: Event | None = None
        self.ignored = 0
        self.distrusted = ""

    def accept(self) -> None:
        """Note that the broker has confirmed the request."""
        self.accepted = True
        if self.decided is not None:
            self.decided.set()

    def refuse(self, error: AmqpRpcException) -> None:
        """End the call with an error that is not the remote function's."""
        self.refused = error
        self.result.set_exception(error)
        if self.decided is not None:
            self.decided.set()


class PendingCalls:
    """The calls without a reply, by message id.

    Deadlines cost little: calls with the same timeout expire in the order of their beginning, so
    one list for each timeout, and one timer for the nearest deadline of all, are enough.

    Args:
        on_expired: Called with each call whose deadline has passed; it is not pending any more.
    """

    def __init__(self, on_expired: Callable[[PendingCall], None]) -> None:
        self._on_expired = on_expired
        self._calls: dict[str, PendingCall] = {}
        self._deadlines: dict[float, dict[str, float]] = {}
        self._timer: Any = None
        self._timer_at = math.inf

    def __len__(self) -> int:
        return len(self._calls)

    def add(self, call: PendingCall) -> float | None:
        """Wait for a call's reply; return its deadline (`time.monotonic`)."""
        self._calls[call.id] = call
        if call.timeout is None:
            return None
        deadline = monotonic() + call.timeout
        same = self._deadlines.get(call.timeout)
        if same is None:
            same = self._deadlines[call.timeout] = {}
        same[call.id] = deadline
        if deadline < self._timer_at:
            self._set_timer(deadline)
        return deadline

    def get(self, call_id: str | None) -> PendingCall | None:
        """Return the call with that id, which stays pending; None if there is none."""
        return None if call_id is None else self._calls.get(call_id)

    def pop(self, call_id: str | None) -> PendingCall | None:
        """Return a call and forget it; None if it is not pending (any more)."""
        if call_id is None:
            return None
        call = self._calls.pop(call_id, None)
        if call is not None and call.timeout is not None:
            same = self._deadlines[call.timeout]
            del same[call_id]
            if not same and len(self._deadlines) > 1:
                del self._deadlines[call.timeout]
        return call

    def pop_all(self, *, only_endless: bool = False) -> list[PendingCall]:
        """Return all calls (or those without a deadline) and forget them."""
        ids = [each.id for each in self._calls.values() if not only_endless or each.timeout is None]
        popped = [call for each in ids if (call := self.pop(each)) is not None]
        if not self._calls:
            # It would keep the client, which may be done with, in memory until it goes off.
            self._stop_timer()
        return popped

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer.close()
            self._timer = None
        self._timer_at = math.inf

    def _set_timer(self, deadline: float) -> None:
        self._stop_timer()
        self._timer_at = deadline
        self._timer = get_hub().loop.timer(max(0.0, deadline - monotonic()))
        self._timer.start(contained, self._expire)

    def _expire(self) -> None:
        self._timer_at = math.inf
        now = monotonic()
        nearest = math.inf
        due: list[str] = []
        for same in list(self._deadlines.values()):
            for call_id, deadline in same.items():
                if deadline > now:
                    nearest = min(nearest, deadline)
                    break
                due.append(call_id)
        # Before they are told: whatever comes of that, the others have their deadlines.
        if nearest < self._timer_at:
            self._set_timer(nearest)
        interrupt: BaseException | None = None
        for call_id in due:
            # (Unless it was answered when the one before it was told.)
            call = self.pop(call_id)
            if call is None:
                continue
            try:
                self._on_expired(call)
            except BaseException as error:
                # (That of `sys.exit` in a signal's handler, too, is raised below: the others have their deadlines.)
                meant = from_signal(error) or (None if isinstance(error, Exception) else error)
                interrupt = interrupt or meant
                if meant is None:
                    logger.exception("error while call %s ended at its deadline", call.id)
        if interrupt is not None:
            raise interrupt
