"""A client's calls, each from its request until its one outcome.

A call is pending from `open` until the first event that ends it. Its id is removed in the same step, so whatever comes
later finds no call: a second reply, a refusal after the reply, its deadline. What its replies mean to it, its inbox
decides (`amphora.core.inbox`).

=============== ============================== =======================================================
State           Event                          Next
=============== ============================== =======================================================
(new)           `open`                         OPEN
OPEN            `confirmed`                    ACCEPTED; `Ports.decided`
OPEN, ACCEPTED  `reply`, the inbox wants more  same
OPEN, ACCEPTED  `reply`, the inbox is full     ENDED REPLIED
OPEN, ACCEPTED  `refused`                      ENDED REFUSED
OPEN, ACCEPTED  `tick` at its deadline         ENDED EXPIRED
OPEN, ACCEPTED  `forget`                       ENDED FORGOTTEN
OPEN, ACCEPTED  `stop`, `stop_endless`         ENDED STOPPED; the latter only calls without a deadline
ENDED           any                            same
=============== ============================== =======================================================

**Deadlines.** Most calls of a client have the same timeout, so they end in the order of their beginning: each timeout
has a list of its own, which costs a call two operations of a dict. Calls with a timeout that is unlike those of the
others (that of an inherited deadline, say) have entries in a heap. `Ports.alarm` is asked for the nearest deadline.

Invariants, asserted by `check` and by the tests. P1: each call has one outcome, told once. P2: an id is in the index
exactly while its call has not ended; after `stop` no call is pending, after `stop_endless` none without a deadline. P3:
with alarms in time, no call outlives its deadline, and none ends by it before. P4: an alarm is set for the nearest
deadline, or for an earlier time.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from math import inf
from typing import Any, Protocol

from amphora.core.alarms import Alarms
from amphora.core.inbox import ONE_REPLY, Inbox

__all__ = ["CallState", "Calls", "Ending", "PendingCall", "Ports"]

#: Timeouts that have a list of their own.
_LISTS = 64


class CallState(Enum):
    """How far a call has come."""

    OPEN = "open"
    ACCEPTED = "accepted"
    ENDED = "ended"


class Ending(Enum):
    """How a call ended."""

    REPLIED = "replied"
    REFUSED = "refused"
    EXPIRED = "expired"
    FORGOTTEN = "forgotten"
    STOPPED = "stopped"


_OPEN, _ACCEPTED, _ENDED = CallState.OPEN, CallState.ACCEPTED, CallState.ENDED
_REPLIED = Ending.REPLIED


class PendingCall:
    """One call on its way.

    Args:
        id: The request's message id.
        function: Name of the remote function.
        timeout: Seconds that the caller gives it, or None.
        result: Where the driver puts the outcome; means nothing to the machine.
        inbox: Takes its replies.

    Attributes:
        state: How far it has come. Only its machine changes it.
        due: When it ends; infinity where it has no entry in the heap.
        accepted: Whether the broker had confirmed the request, also when the call has ended.
        message: The request, once it is made.
        decided: Where the driver notes that the request is accepted, or the call over, if something waits for that.
        refused: The error that it ended with, unless that is one of the remote function.
        ignored: How many replies were ignored because they are not to be trusted.
        distrusted: Why the last one was.
    """

    __slots__ = (
        "accepted",
        "decided",
        "distrusted",
        "due",
        "function",
        "id",
        "ignored",
        "inbox",
        "message",
        "refused",
        "result",
        "state",
        "timeout",
    )

    def __init__(
        self,
        id: str,  # noqa: A002  (what it is called everywhere)
        function: str,
        timeout: float | None,
        result: Any = None,
        inbox: Inbox = ONE_REPLY,
    ) -> None:
        self.id = id
        self.function = function
        self.timeout = timeout
        self.result = result
        self.inbox = inbox
        self.state = _OPEN
        self.due = inf
        self.accepted = False
        self.message: Any = None
        self.decided: Any = None
        self.refused: Any = None
        self.ignored = 0
        self.distrusted = ""


class Ports(Protocol):
    """What the machine tells its driver; none of these blocks."""

    def decided(self, call: PendingCall) -> None:
        """Wake what waits for the broker's word; only where ``call.decided`` is set."""

    def ended(self, call: PendingCall, how: Ending, detail: Any) -> None:
        """Give a call its outcome: the last reply, an error, or None where the machine has nothing to add."""

    def alarm(self, at: float) -> None:
        """Call `tick` at this time, or before; infinity for not at all."""


class Calls:
    """The calls that are pending; see the module.

    Args:
        ports: What is told to the driver.

    Attributes:
        pending: The calls by their ids. Only the machine changes it.
    """

    def __init__(self, ports: Ports) -> None:
        self.pending: dict[str, PendingCall] = {}
        self._ports = ports
        self._alarms: Alarms[PendingCall] = Alarms(ports.alarm)
        # By timeout: the deadlines by id, the earliest first.
        self._lists: dict[float, dict[str, float]] = {}
        # Calls whose timeout found no list.
        self._odd = 0
        # Calls that have ended together, and have not been told so.
        self._telling: deque[tuple[PendingCall, Ending, Any]] = deque()

    @property
    def next_deadline(self) -> float:
        """When `tick` has something to do; infinity for never."""
        nearest = self._alarms.next
        for same in self._lists.values():
            for deadline in same.values():
                nearest = min(nearest, deadline)
                break
        return nearest

    # -- from above -------------------------------------------------------------------------

    def open(self, call: PendingCall, now: float) -> float | None:
        """Begin to wait for the replies of a call, before its request is sent; return its deadline."""
        self.pending[call.id] = call
        timeout = call.timeout
        if timeout is None:
            return None
        deadline = now + timeout
        same = self._lists.get(timeout)
        if same is None:
            if len(self._lists) >= _LISTS and not self._has_empty_list():
                self._alarms.set(call, deadline)
                return deadline
            same = self._lists[timeout] = {}
        same[call.id] = deadline
        if deadline < self._alarms.alarm_at:
            self._alarms.announce(deadline)
        return deadline

    def forget(self, call: PendingCall) -> None:
        """End a call that nothing waits for any more."""
        if call.state is not _ENDED:
            self._end(call, Ending.FORGOTTEN, None)

    def stop(self, detail: Any = None) -> None:
        """End every call."""
        self._end_all(list(self.pending.values()), Ending.STOPPED, detail)

    def stop_endless(self, detail: Any = None) -> None:
        """End the calls without a deadline."""
        self._end_all([call for call in self.pending.values() if call.timeout is None], Ending.STOPPED, detail)

    # -- from the broker --------------------------------------------------------------------

    def confirmed(self, call: PendingCall) -> None:
        """The broker has the request."""
        if call.state is _OPEN:
            call.state = _ACCEPTED
            call.accepted = True
            if call.decided is not None:
                self._ports.decided(call)

    def refused(self, call: PendingCall, error: Any) -> bool:
        """The request will never reach a queue; return whether the call was pending."""
        if call.state is _ENDED:
            return False
        self._end(call, Ending.REFUSED, error)
        return True

    def reply(self, call: PendingCall, reply: Any, now: float) -> None:
        """Take a reply to a call that is pending."""
        inbox = call.inbox
        if call.state is not _ENDED and (inbox is ONE_REPLY or inbox.put(reply, now)):
            self._leave(call)
            self._ports.ended(call, _REPLIED, reply)

    # -- time -------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """End the calls whose deadlines have passed; an early or repeated call does no harm."""
        self._alarms.fired()
        due = list(self._alarms.take(now))
        for same in self._lists.values():
            for call_id, deadline in same.items():
                if deadline > now:
                    break
                due.append(self.pending[call_id])
        self._end_all(due, Ending.EXPIRED, None)

    # -- transitions ------------------------------------------------------------------------

    def _end(self, call: PendingCall, how: Ending, detail: Any) -> None:
        self._leave(call)
        self._ports.ended(call, how, detail)

    def _leave(self, call: PendingCall) -> None:
        call.state = _ENDED
        call_id, timeout = call.id, call.timeout
        self.pending.pop(call_id, None)
        if timeout is not None:
            same = self._lists.get(timeout)
            if same is None or same.pop(call_id, None) is None:
                call.due = inf

    def _end_all(self, calls: list[PendingCall], how: Ending, detail: Any) -> None:
        """End several calls, all of them before any is told: whatever comes of that meets a consistent machine."""
        for call in calls:
            self._leave(call)
            self._telling.append((call, how, detail))
        # Before they are told, too: the others have their deadlines whatever comes of it.
        if self.pending:
            self._alarms.announce(self.next_deadline)
        else:
            self._alarms.fired()
            self._ports.alarm(inf)
        telling = self._telling
        try:
            while telling:
                self._ports.ended(*telling.popleft())
        finally:
            if telling:
                # A port has raised, or a signal's handler in it.
                self._ports.alarm(0.0)

    def _has_empty_list(self) -> bool:
        """Drop the lists of timeouts that no call has now; looked at now and then only."""
        self._odd += 1
        if self._odd % _LISTS:
            return False
        self._lists = {timeout: same for timeout, same in self._lists.items() if same}
        return len(self._lists) < _LISTS

    # -- for tests --------------------------------------------------------------------------

    def check(self) -> None:
        """Assert the invariants."""
        assert all(call.state is not _ENDED and call.id == call_id for call_id, call in self.pending.items())
        listed = [call_id for same in self._lists.values() for call_id in same]
        assert len(listed) == len(set(listed))
        timed = {call.id for call in self.pending.values() if call.timeout is not None and call.due == inf}
        assert set(listed) == timed, "a call with a deadline is in one list or in the heap"
        assert len(self._lists) <= _LISTS
        for same in self._lists.values():
            assert list(same.values()) == sorted(same.values())
