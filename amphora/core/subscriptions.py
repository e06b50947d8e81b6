"""Subscriptions: wishes to consume from queues, each from `add` until no delivery of it can come any more.

Theory. A wish has a *kind*. OWN queues are part of the topology: they are declared again when they are gone. LABEL
queues are created by others and waited for. OPTIONAL queues are declared by us, and done without where the broker
refuses them or does not answer. Deliveries come on *lanes*, which are channels: one for all OWN wishes, one for each
OPTIONAL wish, and one for each LABEL wish until there are `Options.label_lanes` of them, then the one with the fewest
wishes (unless the broker does not allow that: `keep_apart`). What happens to one lane changes nothing on any other.
What is asked of the broker is a `SubscriptionCommand`. The driver takes it from `next_command`, carries it out without
blocking, and reports how it ended. Each lane has one command at a time, as have the topology (DECLARE, RECREATE) and
the looks (LOOK), which have channels of their own.

========== ===================================== ======================================================================
State      Event                                 Next
========== ===================================== ======================================================================
WANTED     `next_command`                        OWN: DECLARING, STARTING if it is declared; LABEL: LOOKING;
                                                 OPTIONAL: DECLARING
DECLARING  `done`                                STARTING
LOOKING    `done`                                STARTING
LOOKING    `refused`                             MISSING for 0.05 s, doubled to 1 s; to 30 s if the queue may exist
DECLARING  `refused`, `timed_out`                OWN: WANTED, declared again after 0.5 s, doubled to 30 s;
                                                 OPTIONAL: WITHOUT for 60 s, doubled to 600 s
LOOKING    `timed_out`                           MISSING, as when refused
STARTING   `done`                                CONSUMING
STARTING   `refused`                             LABEL: MISSING; OPTIONAL: WITHOUT; OWN: WANTED, declared again
STARTING   `timed_out`                           LABEL: MISSING; OPTIONAL: WITHOUT; OWN: WANTED on another lane,
                                                 RECREATING the second time in a row if the queue is private
STARTING   `argument_refused`                    WANTED
STARTING   `no_lane`                             WANTED on a lane of others; MISSING for 1 s if there is none
RECREATING `done`, `refused`, `timed_out`        WANTED, declared again
CONSUMING  `canceled_by_broker`                  CANCELED
CANCELED   due                                   WANTED: at once for an OWN queue that had been consumed from for
                                                 1 s, else after 0.5 s
CONSUMING  `cancel`                              CANCELING
STARTING   `cancel`                              CANCELING if the command is under way, else ENDED
CANCELING  `done`, `lost`, `channel_closed`, 5 s ENDED
others     `cancel`                              ENDED
others     `channel_closed`                      OWN: WANTED at once; else MISSING for 0.5 s. From the third time on,
                                                 with less than 60 s between them, after 1 s, doubled to 30 s
others     `lost`                                WANTED; WITHOUT stays until it is due
========== ===================================== ======================================================================

Invariants. U1: a wish has one live tag at most, and a tag belongs to one wish. U2: a wish that is neither CONSUMING nor
ENDED has a command under way or waiting, or a time at which it is due. U3: the end of a LABEL or OPTIONAL lane
changes nothing on any other lane. U4: no command is repeated sooner than its back-off allows. U5: no delivery
of an ENDED wish reaches its owner; the driver sees to that when `ended` is called.
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import Generic, TypeVar

from amphora.core.alarms import Alarms
from amphora.core.delivery_lanes import DeliveryLanes
from amphora.core.subscription_ports import Options, Ports
from amphora.core.wishes import (
    AGAIN,
    AGAIN_MOST,
    STEADY,
    Kind,
    Lane,
    Method,
    State,
    SubscriptionCommand,
    Wish,
    pause_after_close,
    pause_after_failure,
)

__all__ = ["Kind", "Lane", "Method", "Options", "Ports", "State", "SubscriptionCommand", "Subscriptions", "Wish"]

#: Seconds: first and longest pause before a missing queue is looked for again, and the longest where it may exist.
_SOON, _LATE, _LATEST = 0.05, 1.0, 30.0

#: Seconds for which an optional queue is done without, first and longest.
_WITHOUT, _WITHOUT_MOST = 60.0, 600.0

#: Seconds after which the broker's consent to a cancellation is no longer waited for.
_CANCEL = 5.0

#: After so many attempts in a row that the broker did not answer, a queue that only this endpoint uses is deleted.
_HANGS = 2

W = TypeVar("W", bound=Wish)


class Subscriptions(Generic[W]):
    """Decides what is asked of the broker for each wish; see above.

    Args:
        options: How subscriptions are made.
        ports: What is told to the driver.

    Attributes:
        attached: Whether there is a connection.
        declared: Whether the topology is declared on this connection.
        declare_failures: How often in a row that failed.
    """

    def __init__(self, options: Options, ports: Ports[W]) -> None:
        self.attached = False
        self.declared = False
        self.declare_failures = 0
        self._ports = ports
        self._lanes: DeliveryLanes[W] = DeliveryLanes(options.label_lanes)
        # Used as ordered sets.
        self._wishes: dict[W, None] = {}
        self._declare_due = inf
        self._control: SubscriptionCommand | None = None
        self._recreate: deque[W] = deque()
        self._looking: SubscriptionCommand | None = None
        self._looks: deque[W] = deque()
        self._alarms: Alarms[W] = Alarms(ports.alarm)

    # -- what is known ----------------------------------------------------------------------

    @property
    def wishes(self) -> tuple[W, ...]:
        """The wishes that have not ended."""
        return tuple(self._wishes)

    @property
    def consuming(self) -> bool:
        """Whether there are OWN wishes, and all of them are consumed from."""
        own = [wish for wish in self._wishes if wish.kind is Kind.OWN]
        return bool(own) and all(wish.state is State.CONSUMING for wish in own)

    @property
    def next_deadline(self) -> float:
        """When `tick` has something to do; `inf` for never."""
        return min(self._declare_due, self._alarms.next)

    # -- from above -------------------------------------------------------------------------

    def add(self, wish: W, now: float) -> None:
        """Begin to consume from a queue."""
        self._wishes[wish] = None
        self._want(wish, now)

    def cancel(self, wish: W, now: float) -> None:
        """End a wish; `Ports.ended` follows."""
        state = wish.state
        if state is State.CONSUMING or (state is State.STARTING and self._lanes.is_under_way(wish)):
            assert wish.lane is not None
            self._enter(wish, State.CANCELING, now + _CANCEL)
            self._lanes.push(wish.lane, Method.CANCEL, wish)
        elif state is not State.ENDED and state is not State.CANCELING:
            self._end(wish)

    def check_topology(self, now: float) -> None:
        """Declare the topology again soon."""
        if self.attached and self._declare_due > now and self.declared:
            self._declare_due = now
            self._set_alarm()

    # -- the connection ---------------------------------------------------------------------

    def attach(self, now: float) -> None:
        """There is a new connection."""
        self.attached, self.declared, self.declare_failures = True, False, 0
        self._declare_due = now
        for wish in list(self._wishes):
            if wish.state is not State.WITHOUT:
                wish.failures = 0
                self._want(wish, now)

    def lost(self, *, internal_error: bool = False) -> None:
        """The connection is gone, with every command, channel and tag.

        Args:
            internal_error: Whether the broker ended it for an error of its own, as RabbitMQ 4.0 does some seconds after
                a queue without a leader was to be consumed from.
        """
        self.attached = self.declared = False
        self._declare_due = inf
        self._control = self._looking = None
        self._lanes.lose_all()
        self._recreate.clear()
        self._looks.clear()
        ending = []
        for wish in self._wishes:
            wish.lane = wish.tag = None
            if wish.state is State.STARTING and internal_error:
                wish._hangs += 1
            elif wish.state is State.RECREATING:
                # Before it is consumed from on the next connection, which would break that one too.
                wish._hangs = _HANGS
            if wish.state is State.CANCELING:
                ending.append(wish)
            elif wish.state is not State.WITHOUT:
                self._enter(wish, State.WANTED)
        for wish in ending:
            self._end(wish)

    # -- commands ---------------------------------------------------------------------------

    def next_command(self, now: float) -> SubscriptionCommand | None:
        """Return what is to be asked of the broker next; None if there is nothing at present."""
        if not self.attached:
            return None
        return self._control_command(now) or self._look_command() or self._lanes.next_command()

    def _control_command(self, now: float) -> SubscriptionCommand | None:
        if self._control is not None:
            return None
        if self._recreate:
            wish = self._recreate.popleft()
            if wish.state is State.RECREATING:
                self._control = SubscriptionCommand(Method.RECREATE, wish)
                return self._control
        if self._declare_due <= now:
            self._declare_due = inf
            for wish in self._wishes:
                if wish.kind is Kind.OWN and wish.state is State.WANTED and wish.due == inf:
                    self._enter(wish, State.DECLARING)
            self._control = SubscriptionCommand(Method.DECLARE, None)
            return self._control
        return None

    def _look_command(self) -> SubscriptionCommand | None:
        while self._looking is None and self._looks:
            wish = self._looks.popleft()
            if wish.state is not State.WANTED:
                continue
            label = wish.kind is Kind.LABEL
            self._enter(wish, State.LOOKING if label else State.DECLARING)
            self._looking = SubscriptionCommand(Method.LOOK if label else Method.DECLARE, wish)
            return self._looking
        return None

    # -- how commands ended -----------------------------------------------------------------

    def done(self, command: SubscriptionCommand, now: float) -> None:
        """The broker has done it."""
        wish = self._answered(command)
        if command.method is Method.DECLARE and command.wish is None:
            self.declared, self.declare_failures = True, 0
            for each in list(self._wishes):
                if each.kind is Kind.OWN and each.state is State.DECLARING:
                    self._start(each)
        elif wish is None:
            return
        elif command.method is Method.CONSUME:
            if wish.state is State.STARTING:
                wish.failures = wish._hangs = 0
                wish._since = now
                if wish.kind is not Kind.OWN:
                    wish._pause = 0.0
                self._enter(wish, State.CONSUMING)
                self._ports.settled(wish, missing=False)
        elif command.method is Method.CANCEL:
            self._end(wish)
        elif command.method is Method.RECREATE:
            self._again(wish, now)
        elif wish.state in (State.LOOKING, State.DECLARING):
            self._start(wish)

    def refused(self, command: SubscriptionCommand, now: float, *, missing: bool, closed: bool) -> None:
        """The broker refuses it.

        Args:
            command: The command.
            now: The time.
            missing: Whether the broker says that there is no such queue.
            closed: Whether it has closed the lane for it.
        """
        others = self._lanes.lose(command) if closed else []
        self._failed(command, now, missing=missing, hung=False)
        self._lane_lost(others, now)

    def timed_out(self, command: SubscriptionCommand, now: float) -> None:
        """The broker does not answer: the channel that it was asked on is not used any more."""
        others = self._lanes.lose(command)
        self._failed(command, now, missing=False, hung=True)
        self._lane_lost(others, now)

    def argument_refused(self, command: SubscriptionCommand, now: float) -> None:
        """The broker has closed the lane because of an argument of this CONSUME, which is left out from now on."""
        others = self._lanes.lose(command)
        wish = self._answered(command)
        if wish is not None and wish.state is State.STARTING:
            self._want(wish, now)
        elif wish is not None and wish.state is State.CANCELING:
            self._end(wish)
        self._lane_lost(others, now)

    def keep_apart(self) -> None:
        """Never start two wishes on one lane: the broker allows no more consumers on a channel."""
        self._lanes.apart = True

    def no_lane(self, command: SubscriptionCommand, now: float) -> None:
        """The lane of this CONSUME cannot be opened: there are too many channels on the connection."""
        wish = self._answered(command)
        lane = command.lane
        if lane is not None and lane.live:
            self._lanes.drop(lane)
        self._lanes.lower_limit()
        if wish is not None and wish.state is State.CANCELING:
            self._end(wish)
        elif wish is not None:
            self._lanes.leave(wish)
            self._enter(wish, State.MISSING, now + (0.0 if self._lanes.sharable else _LATE))

    def _failed(self, command: SubscriptionCommand, now: float, *, missing: bool, hung: bool) -> None:
        wish = self._answered(command)
        if command.method is Method.DECLARE and command.wish is None:
            self.declared = False
            self.declare_failures += 1
            self._declare_due = now + min(AGAIN_MOST, AGAIN * 2.0 ** min(self.declare_failures - 1, 10))
            for each in self._wishes:
                if each.kind is Kind.OWN and each.state is State.DECLARING:
                    each.failures += 1
                    self._enter(each, State.WANTED)
            self._set_alarm()
        elif wish is None:
            return
        elif wish.state is State.CANCELING:
            self._end(wish)
        elif wish.state in (State.LOOKING, State.DECLARING, State.STARTING, State.RECREATING):
            wish.failures += 1
            wish._hangs = wish._hangs + 1 if hung else 0
            self._retreat(wish, now, missing=missing)

    def _retreat(self, wish: W, now: float, *, missing: bool) -> None:
        """A wish could not be fulfilled: it is tried again later."""
        self._lanes.leave(wish)
        if wish.kind is Kind.LABEL:
            wish._pause = min(_LATE if missing else _LATEST, max(_SOON, 2 * wish._pause))
            self._enter(wish, State.MISSING, now + wish._pause)
            self._ports.settled(wish, missing=True)
        elif wish.kind is Kind.OPTIONAL:
            wish._pause = min(_WITHOUT_MOST, max(_WITHOUT, 2 * wish._pause))
            self._enter(wish, State.WITHOUT, now + wish._pause)
            self._ports.settled(wish, missing=True)
        elif wish.private and wish._hangs >= _HANGS and wish.state is not State.RECREATING:
            self._to_recreating(wish)
        else:
            self._again(wish, now)

    def _again(self, wish: W, now: float) -> None:
        """Declare an OWN queue again before it is consumed from, after a pause that grows."""
        pause = pause_after_failure(wish, now)
        self.declared = False
        self._declare_due = min(self._declare_due, now + pause)
        self._enter(wish, State.WANTED, now + pause)

    def _answered(self, command: SubscriptionCommand) -> W | None:
        """A command is no longer under way; return its wish, unless that has nothing to do with it any more."""
        if command is self._control:
            self._control = None
        elif command is self._looking:
            self._looking = None
        elif command.lane is not None and command.lane.busy is command:
            self._lanes.answered(command.lane)
        else:
            # Of an earlier connection.
            return None
        wish = command.wish
        if wish is None or wish.state is State.ENDED or wish not in self._wishes:
            return None
        if command.lane is not None and wish.lane is not command.lane:
            return None
        return wish

    # -- from the broker --------------------------------------------------------------------

    def canceled_by_broker(self, wish: W, tag: str, now: float) -> None:
        """The broker has canceled a consumer: its queue was deleted, say, or its node is gone."""
        if wish.tag != tag:
            return
        if wish.state is State.CANCELING:
            self._end(wish)
        elif wish.state in (State.STARTING, State.CONSUMING):
            # One that had lasted is declared again at once: what is published meanwhile has nowhere to go.
            steady = wish.kind is Kind.OWN and now - wish._since >= STEADY
            pause = 0.0 if steady else AGAIN
            self._lanes.leave(wish)
            wish._since = inf
            if wish.kind is Kind.OWN:
                self.declared = False
                self._declare_due = min(self._declare_due, now + pause)
            self._enter(wish, State.CANCELED, now + pause)

    def channel_closed(self, lane: Lane, now: float) -> None:
        """The broker has closed the channel of a lane."""
        if lane.live:
            wishes = list(lane.wishes)
            self._lanes.drop(lane)
            self._lane_lost(wishes, now)

    def _lane_lost(self, wishes: list[Wish], now: float) -> None:
        for each in wishes:
            wish: W = each  # type: ignore[assignment]
            wish.tag = wish.lane = None
            if wish.state is State.CANCELING:
                self._end(wish)
            elif wish.state is not State.ENDED:
                pause = pause_after_close(wish, now)
                wish._since = inf
                if wish.kind is Kind.OWN:
                    # Its queue may be gone as well.
                    self.declared = False
                    self._declare_due = min(self._declare_due, now + pause)
                state = State.WANTED if wish.kind is Kind.OWN else State.MISSING
                if pause > 0:
                    self._enter(wish, state, now + pause)
                else:
                    self._want(wish, now)

    def delivered(self, lane: Lane) -> None:
        """A delivery that is to be settled has come on a LABEL or OPTIONAL lane."""
        lane.unsettled += 1

    def settle(self, lane: Lane) -> bool:
        """One of them was settled; return whether `next_command` has something to say about it."""
        lane.unsettled -= 1
        return self._lanes.close_if_idle(lane)

    def tick(self, now: float) -> None:
        """See what is due."""
        self._alarms.fired()
        for wish in self._alarms.take(now):
            if wish.state is State.CANCELING:
                self._end(wish)
            elif wish.state is not State.ENDED:
                self._want(wish, now)
        self._set_alarm()

    def _to_recreating(self, wish: W) -> None:
        wish._hangs = 0
        self._enter(wish, State.RECREATING)
        self._recreate.append(wish)

    def _start(self, wish: W) -> None:
        if wish.private and wish._hangs >= _HANGS:
            self._to_recreating(wish)
            return
        self._enter(wish, State.STARTING)
        self._lanes.join(wish)

    # -- states -----------------------------------------------------------------------------

    def _want(self, wish: W, now: float) -> None:
        """Fulfil a wish as soon as possible."""
        self._lanes.leave(wish)
        self._enter(wish, State.WANTED)
        if not self.attached:
            return
        if wish.kind is not Kind.OWN:
            self._looks.append(wish)
        elif self.declared:
            self._start(wish)
        elif self._control is None or self._control.method is not Method.DECLARE:
            if self._declare_due == inf:
                self._declare_due = now
            self._set_alarm()
        else:
            # The one that is under way may have declared it before it was gone.
            self._declare_due = min(self._declare_due, now)

    def _end(self, wish: W) -> None:
        self._lanes.leave(wish)
        self._enter(wish, State.ENDED)
        self._wishes.pop(wish, None)
        self._ports.ended(wish)

    def _enter(self, wish: W, state: State, due: float = inf) -> None:
        wish.state = state
        self._alarms.set(wish, due)
        if due < inf:
            self._set_alarm()

    def _set_alarm(self) -> None:
        self._alarms.announce(self.next_deadline)

    # -- for tests --------------------------------------------------------------------------

    def check(self) -> None:
        """Assert what always holds; see the invariants above."""
        tags = [wish.tag for wish in self._wishes if wish.tag is not None]
        assert len(tags) == len(set(tags)), "U1"
        for wish in self._wishes:
            assert wish.state is not State.ENDED
            on_lane = wish.state in (State.STARTING, State.CONSUMING, State.CANCELING)
            assert (wish.lane is not None) == on_lane, (wish.state, wish.lane)
            assert wish.lane is None or (wish.lane.live and wish in wish.lane.wishes and wish.lane.kind is wish.kind)
            assert wish.tag is None or on_lane
            if self.attached and wish.state is not State.CONSUMING:
                assert self._goes_on(wish), ("U2", wish.state)
        self._lanes.check()

    def _goes_on(self, wish: W) -> bool:
        if wish.due < inf or wish in self._looks or wish in self._recreate:
            return True
        if any(command is not None and command.wish is wish for command in (self._control, self._looking)):
            return True
        if wish.lane is not None:
            return self._lanes.is_under_way(wish) or any(each is wish for _, each in wish.lane.todo)
        declaring = self._control is not None and self._control.method is Method.DECLARE
        return wish.kind is Kind.OWN and (self._declare_due < inf or declaring)
