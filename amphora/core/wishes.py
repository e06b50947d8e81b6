"""The records of subscriptions: wishes to consume, the lanes that deliveries come on, and commands for the broker.

What the states mean and how they change, `amphora.core.subscriptions` says.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from math import inf

__all__ = [
    "AGAIN",
    "AGAIN_MOST",
    "Kind",
    "Lane",
    "Method",
    "State",
    "SubscriptionCommand",
    "Wish",
    "pause_after_close",
    "pause_after_failure",
]

#: Seconds before a queue is declared or consumed from again after a failure, first and longest.
AGAIN, AGAIN_MOST = 0.5, 30.0

#: Seconds of consuming after which failures count from the beginning.
STEADY = 1.0

#: This many closed channels, each within these seconds after the one before, are followed by growing pauses.
_CLOSES, _CLOSES_IN = 3, 60.0


class Kind(Enum):
    """Whose queue it is; see above."""

    OWN = "own"
    LABEL = "label"
    OPTIONAL = "optional"


class State(Enum):
    """See the table above."""

    WANTED = "wanted"
    DECLARING = "declaring"
    LOOKING = "looking"
    MISSING = "missing"
    STARTING = "starting"
    CONSUMING = "consuming"
    CANCELED = "canceled"
    CANCELING = "canceling"
    WITHOUT = "without"
    RECREATING = "recreating"
    ENDED = "ended"


class Method(Enum):
    """What is asked of the broker."""

    #: Declare the topology (no wish), or an optional queue.
    DECLARE = "declare"
    LOOK = "look"
    CONSUME = "consume"
    CANCEL = "cancel"
    #: Delete a queue that only this endpoint uses, and declare it again.
    RECREATE = "recreate"
    #: Close a lane that nothing needs any more.
    CLOSE = "close"


class Lane:
    """A channel for deliveries, which the driver opens with the first CONSUME.

    Attributes:
        kind: Which wishes it is for.
        wishes: Those that are started on it.
        unsettled: Deliveries on it that may still be settled; not counted for OWN.
        live: Whether it is usable.
    """

    __slots__ = ("busy", "kind", "listed", "live", "todo", "unsettled", "wishes")

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.wishes: dict[Wish, None] = {}
        self.unsettled = 0
        self.live = True
        self.busy: SubscriptionCommand | None = None
        self.todo: deque[tuple[Method, Wish]] = deque()
        self.listed = False


class Wish:
    """A wish to consume from one queue; the driver's record derives from it.

    Args:
        kind: Whose queue it is.
        private: Whether only this endpoint uses the queue, so that it may be deleted and declared again.

    Attributes:
        state: Where it stands.
        tag: Its live consumer tag, if it has one.
        due: When something has to happen; infinity if nothing has.
        failures: How often in a row it could not be consumed from.
    """

    __slots__ = (
        "_close_pause",
        "_closed_at",
        "_closes",
        "_hangs",
        "_pause",
        "_since",
        "due",
        "failures",
        "kind",
        "lane",
        "private",
        "state",
        "tag",
    )

    def __init__(self, kind: Kind, *, private: bool = False) -> None:
        self.kind = kind
        self.private = private
        self.state = State.WANTED
        self.tag: str | None = None
        self.lane: Lane | None = None
        self.failures = 0
        self.due = inf
        self._pause = 0.0
        self._hangs = 0
        self._since = inf
        self._closes = 0
        self._closed_at = -inf
        self._close_pause = 0.0


class SubscriptionCommand:
    """Something to ask of the broker; reported once as `done`, `refused` or `timed_out`, or forgotten with `lost`."""

    __slots__ = ("lane", "method", "tag", "wish")

    def __init__(self, method: Method, wish: Wish | None, lane: Lane | None = None, tag: str = "") -> None:
        self.method = method
        self.wish = wish
        self.lane = lane
        self.tag = tag

    def __repr__(self) -> str:
        return f"<{self.method.value} {self.wish!r}>"


def pause_after_failure(wish: Wish, now: float) -> float:
    """Return the pause after a failure of an OWN wish, longer than that after the one before."""
    if now - wish._since >= STEADY:
        wish._pause = 0.0
    wish._since = inf
    wish._pause = min(AGAIN_MOST, max(AGAIN, 2 * wish._pause))
    return wish._pause


def pause_after_close(wish: Wish, now: float) -> float:
    """Return the pause after its channel was closed, which grows from the third time on."""
    if now - wish._closed_at > _CLOSES_IN + wish._close_pause:
        wish._closes = 0
    wish._closes += 1
    wish._closed_at = now
    further = wish._closes - _CLOSES
    if further >= 0:
        wish._close_pause = min(30.0, 2.0 ** min(further, 5))
    else:
        wish._close_pause = 0.0 if wish.kind is Kind.OWN else AGAIN
    return wish._close_pause
