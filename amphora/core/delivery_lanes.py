"""The lanes of subscriptions: which wish goes on which channel, and what is asked of the broker on each.

All OWN wishes share one lane. Each OPTIONAL wish has one of its own, and so has each LABEL wish until there are
`DeliveryLanes.limit` of them; then the lane with the fewest wishes is shared. A lane carries out one command at a time.
It is closed when nothing needs it: no wish, no delivery that may still be settled, no command.
"""

from __future__ import annotations

from collections import deque
from itertools import count
from typing import Generic, TypeVar

from amphora.core.wishes import Kind, Lane, Method, State, SubscriptionCommand, Wish

__all__ = ["DeliveryLanes"]

W = TypeVar("W", bound=Wish)


class DeliveryLanes(Generic[W]):
    """The lanes of one connection; see the module.

    Args:
        limit: How many lanes label queues have, before they share them.

    Attributes:
        live: Those that are usable, in the order of their making.
        limit: As above; lower once the broker opened no more channels.
        apart: Whether the broker allows no lane to be shared.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.apart = False
        self.live: dict[Lane, None] = {}
        self._own: Lane | None = None
        self._tags = count(1)
        self._ready: deque[Lane] = deque()
        self._idle: deque[Lane] = deque()

    @property
    def sharable(self) -> bool:
        """Whether a label queue can do without a lane of its own."""
        return not self.apart and any(lane.kind is Kind.LABEL for lane in self.live)

    def join(self, wish: W) -> None:
        """Put a wish on its lane, and have it consumed from there."""
        lane = self._lane_for(wish)
        lane.wishes[wish] = None
        wish.lane = lane
        self.push(lane, Method.CONSUME, wish)

    def leave(self, wish: W) -> None:
        """Take a wish off its lane, if it has one."""
        lane, wish.lane, wish.tag = wish.lane, None, None
        if lane is not None:
            lane.wishes.pop(wish, None)
            self.close_if_idle(lane)

    def push(self, lane: Lane, method: Method, wish: W) -> None:
        """Have something asked of the broker on a lane, after what was to be asked before."""
        lane.todo.append((method, wish))
        self._list(lane)

    def answered(self, lane: Lane) -> None:
        """The command of a lane is no longer under way."""
        lane.busy = None
        self._list(lane)

    def is_under_way(self, wish: Wish) -> bool:
        """Return whether a command of this wish is under way on its lane."""
        lane = wish.lane
        return lane is not None and lane.busy is not None and lane.busy.wish is wish

    def drop(self, lane: Lane) -> None:
        """A lane is not used any more."""
        lane.live = False
        lane.todo.clear()
        self.live.pop(lane, None)
        if lane is self._own:
            self._own = None

    def lose(self, command: SubscriptionCommand) -> list[Wish]:
        """Drop the lane of a command, and return the other wishes on it."""
        lane = command.lane
        if lane is None or not lane.live:
            return []
        self.drop(lane)
        return [wish for wish in lane.wishes if wish is not command.wish]

    def lose_all(self) -> None:
        """The connection is gone."""
        for lane in self.live:
            lane.live = False
        self.live.clear()
        self._own = None
        self._ready.clear()
        self._idle.clear()

    def lower_limit(self) -> None:
        """The connection has no channel for one more lane."""
        self.limit = max(1, sum(lane.kind is Kind.LABEL for lane in self.live))

    def close_if_idle(self, lane: Lane) -> bool:
        """Have a lane closed that nothing needs; return whether that is so."""
        idle = lane.live and lane.kind is not Kind.OWN and not lane.wishes and not lane.unsettled and lane.busy is None
        if idle:
            self._idle.append(lane)
        return idle

    def next_command(self) -> SubscriptionCommand | None:
        """Return what is to be asked of the broker on a lane; None if there is nothing at present."""
        while self._ready:
            lane = self._ready.popleft()
            lane.listed = False
            while lane.live and lane.busy is None and lane.todo:
                method, wish = lane.todo.popleft()
                wanted = State.STARTING if method is Method.CONSUME else State.CANCELING
                if wish.lane is not lane or wish.state is not wanted:
                    continue
                if method is Method.CONSUME:
                    wish.tag = f"amphora-{next(self._tags)}"
                assert wish.tag is not None
                lane.busy = SubscriptionCommand(method, wish, lane, wish.tag)
                return lane.busy
            self.close_if_idle(lane)
        return self._next_close()

    def _next_close(self) -> SubscriptionCommand | None:
        while self._idle:
            lane = self._idle.popleft()
            if lane.live and not lane.wishes and not lane.unsettled and lane.busy is None:
                self.drop(lane)
                return SubscriptionCommand(Method.CLOSE, None, lane)
        return None

    def _lane_for(self, wish: W) -> Lane:
        if wish.kind is Kind.OWN:
            if self._own is None or not self._own.live:
                self._own = self._new(Kind.OWN)
            return self._own
        if wish.kind is Kind.LABEL and not self.apart:
            lanes = [lane for lane in self.live if lane.kind is Kind.LABEL]
            if len(lanes) >= self.limit:
                return min(lanes, key=lambda lane: len(lane.wishes))
        return self._new(wish.kind)

    def _new(self, kind: Kind) -> Lane:
        lane = Lane(kind)
        self.live[lane] = None
        return lane

    def _list(self, lane: Lane) -> None:
        if lane.live and lane.busy is None and not lane.listed and (lane.todo or not lane.wishes):
            lane.listed = True
            self._ready.append(lane)

    def check(self) -> None:
        """Assert what always holds."""
        for lane in self.live:
            assert lane.live
            assert lane.kind is not Kind.OPTIONAL or len(lane.wishes) <= 1, "U3"
