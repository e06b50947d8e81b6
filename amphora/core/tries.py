"""The tries of requests that may end their server: counted before they are made, the last one made alone.

A request that comes again may have ended the server that had it. Servers count its tries where no crash takes the
count along: on the broker, one confirmed message before each try that begins with a redelivery. The first try is not
counted; it is in every number as one. What this process knows not to have been a try (a request that it was sent, or
counted, and gave up or lost before its function began) is subtracted again.

A suspect that asks gets an attempt:

========= ============================== =========================================================
State     Event                          Next
========= ============================== =========================================================
ASKING    `told` n >= limit              OUT, `give_up`
ASKING    `told` n < limit               WAITING in the line of the gate; exclusive if n = limit - 1
ASKING    `refused`                      RUN without a count, outside of the gate
ASKING    10 s without an answer         OUT, `hold`; while nothing can be published, 10 s more
WAITING   the gate admits it             TURN
TURN      `pump`, a slot is free         COUNTING, `count`
TURN      `pump`, not wanted any more    OUT, `hold`
COUNTING  `counted`                      READY, `proceed`: it gets the next free slot
COUNTING  `not_counted`, or 10 s         OUT, `hold`
READY     `began`                        RUN
RUN       `run_ended`                    LEAVING if it is exclusive, else OUT
LEAVING   `leave` (settled), or 1 s      OUT
any       `leave`                        OUT
========= ============================== =========================================================

No slot is reserved for a suspect, and no request that comes for the first time waits for the gate. An exclusive try
keeps the gate for a second after its run, or until its request is settled: another suspect may end the server, and
this one's acknowledgement must be on its way by then. It does not keep the gate for as long as its reply takes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from enum import Enum
from math import inf
from typing import Generic, Protocol, TypeVar

from amphora.core.alarms import Alarms
from amphora.core.gate import Gate

__all__ = ["Attempt", "Ports", "State", "Tries"]

#: Seconds to wait for the broker to tell or to take a count.
ANSWER = 10.0

#: Seconds for which an exclusive try keeps the gate after its run, unless its request is settled before.
LEAVE = 1.0

#: Keys whose unfounded charges are remembered.
_REMEMBERED = 10_000


class State(Enum):
    """What an attempt waits for."""

    ASKING = "asking"
    WAITING = "waiting"
    TURN = "turn"
    COUNTING = "counting"
    READY = "ready"
    RUN = "run"
    LEAVING = "leaving"
    OUT = "out"


R = TypeVar("R", bound=Hashable)
Q = TypeVar("Q", bound=Hashable, contravariant=True)


class Ports(Protocol[Q]):
    """What an attempt asks others to do; none of these blocks or raises."""

    def ask(self, suspect: Q) -> None:
        """Ask the broker for the count; `told` or `refused` follows."""

    def count(self, suspect: Q) -> None:
        """Count one more try; `counted` or `not_counted` follows."""

    def wanted(self, suspect: Q) -> bool:
        """Return whether the try is still to be made."""

    def has_slot(self) -> bool:
        """Return whether a function can begin now."""

    def can_publish(self) -> bool:
        """Return whether the broker can be asked at all."""

    def proceed(self, suspect: Q, now: float) -> None:
        """Run the suspect in the next free slot."""

    def give_up(self, suspect: Q, now: float) -> None:
        """Dead-letter the suspect: it was tried too often."""

    def hold(self, suspect: Q, now: float) -> None:
        """Give the suspect back to its queue, after a moment."""


class Attempt(Generic[R]):
    """One try of a suspect; see above.

    Attributes:
        suspect: Who tries.
        state: What it waits for.
        exclusive: Whether it runs with no other suspect beside it.
        charged: Whether the broker has counted it, or may have.
        due: When something has to happen.
    """

    __slots__ = ("charged", "due", "exclusive", "key", "state", "suspect")

    def __init__(self, suspect: R, key: Hashable) -> None:
        self.suspect = suspect
        self.key = key
        self.state = State.ASKING
        self.exclusive = False
        self.charged = False
        self.due = inf


class Tries(Generic[R]):
    """Decides about each suspect: run, wait, give back or give up.

    Args:
        limit: How many tries a request has, the first one included; at least two.
        ports: What is asked of others.

    Attributes:
        unexpected: Events that came in a state that does not list them; they change nothing.
    """

    __slots__ = ("_alarms", "_attempts", "_gate", "_not_begun", "_ports", "_turns", "limit", "unexpected")

    def __init__(self, limit: int, ports: Ports[R]) -> None:
        self.limit = limit
        self.unexpected = 0
        self._ports = ports
        self._gate: Gate[Attempt[R]] = Gate()
        self._attempts: dict[R, Attempt[R]] = {}
        # Its owner asks for the alarm, as it has one for things of its own too.
        self._alarms: Alarms[Attempt[R]] = Alarms(lambda _: None)
        #: Admitted attempts that wait for a free slot, in order.
        self._turns: dict[Attempt[R], None] = {}
        self._not_begun: OrderedDict[Hashable, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._attempts)

    def attempt_of(self, suspect: R) -> Attempt[R] | None:
        """Return the attempt of a suspect; None if it has none."""
        return self._attempts.get(suspect)

    @property
    def next_deadline(self) -> float:
        """When `tick` has something to do."""
        return self._alarms.next

    # -- events -----------------------------------------------------------------------------

    def ask(self, suspect: R, key: Hashable, now: float) -> None:
        """Begin an attempt.

        Args:
            suspect: The request.
            key: What it is known by when it comes again.
            now: The time.
        """
        attempt = self._attempts[suspect] = Attempt(suspect, key)
        self._alarms.set(attempt, now + ANSWER)
        self._ports.ask(suspect)

    def told(self, suspect: R, count: int, now: float) -> None:
        """Take the broker's answer: how many tries were counted."""
        attempt = self._in(suspect, State.ASKING)
        if attempt is None:
            return
        tries = max(0, count + 1 - self._not_begun.get(attempt.key, 0))
        attempt.due = inf
        if tries >= self.limit:
            self._drop(attempt, now)
            self._ports.give_up(suspect, now)
            return
        attempt.exclusive = tries == self.limit - 1
        attempt.state = State.WAITING
        self._admit(self._gate.join(attempt, exclusive=attempt.exclusive), now)

    def refused(self, suspect: R, now: float) -> None:
        """The broker does not let us count: the try is made uncounted, neither lost nor held up."""
        attempt = self._in(suspect, State.ASKING)
        if attempt is None:
            return
        attempt.due = inf
        attempt.state = State.READY
        self._ports.proceed(suspect, now)

    def counted(self, suspect: R, now: float) -> None:
        """The broker has confirmed the count."""
        attempt = self._in(suspect, State.COUNTING)
        if attempt is None:
            return
        attempt.due = inf
        attempt.state = State.READY
        self._ports.proceed(suspect, now)

    def not_counted(self, suspect: R, now: float) -> None:
        """The broker has refused the count."""
        attempt = self._in(suspect, State.COUNTING)
        if attempt is not None:
            attempt.charged = False
            self._hold(attempt, now)

    def began(self, suspect: R) -> None:
        """The function runs."""
        attempt = self._in(suspect, State.READY)
        if attempt is not None:
            attempt.state = State.RUN

    def run_ended(self, suspect: R, now: float) -> None:
        """The function has ended, whatever became of it."""
        attempt = self._in(suspect, State.RUN)
        if attempt is None:
            return
        if attempt.exclusive:
            attempt.state = State.LEAVING
            self._alarms.set(attempt, now + LEAVE)
        else:
            self._drop(attempt, now)

    def leave(self, suspect: R, now: float) -> None:
        """The request has left, or goes another way; it need not have an attempt."""
        attempt = self._attempts.get(suspect)
        if attempt is not None:
            self._drop(attempt, now)

    def not_begun(self, key: Hashable) -> None:
        """What counts as a try of this key was none."""
        self._not_begun[key] = self._not_begun.pop(key, 0) + 1
        if len(self._not_begun) > _REMEMBERED:
            self._not_begun.popitem(last=False)

    def forget(self, key: Hashable) -> None:
        """The request is finished: nothing about its tries is of interest any more."""
        self._not_begun.pop(key, None)

    def pump(self, now: float) -> None:
        """Let those whose turn it is begin, as far as slots are free."""
        while self._turns and self._ports.has_slot():
            attempt = next(iter(self._turns))
            del self._turns[attempt]
            if self._ports.wanted(attempt.suspect):
                attempt.state = State.COUNTING
                self._alarms.set(attempt, now + ANSWER)
                attempt.charged = True
                self._ports.count(attempt.suspect)
            else:
                self._hold(attempt, now)

    def tick(self, now: float) -> None:
        """Handle what is due."""
        for attempt in self._alarms.take(now):
            if attempt.state is State.LEAVING:
                self._drop(attempt, now)
            elif self._ports.can_publish():
                self._hold(attempt, now)
            else:
                # Nothing is given back for want of a connection: up to RabbitMQ 4.2 every return counts.
                self._alarms.set(attempt, now + ANSWER)

    def check(self) -> None:
        """Assert the invariants."""
        self._gate.check()
        in_gate = (State.WAITING, State.TURN, State.COUNTING, State.READY, State.RUN, State.LEAVING)
        for suspect, attempt in self._attempts.items():
            assert attempt.suspect is suspect
            assert attempt.state is not State.OUT
            assert attempt not in self._gate or attempt.state in in_gate
            assert (attempt in self._turns) == (attempt.state is State.TURN)
            timed = (State.ASKING, State.COUNTING, State.LEAVING)
            assert (attempt.due < inf) == (attempt.state in timed)
        assert len(self._gate) <= len(self._attempts)

    # -- transitions ------------------------------------------------------------------------

    def _in(self, suspect: R, state: State) -> Attempt[R] | None:
        attempt = self._attempts.get(suspect)
        if attempt is None or attempt.state is not state:
            self.unexpected += 1
            return None
        return attempt

    def _hold(self, attempt: Attempt[R], now: float) -> None:
        self._drop(attempt, now)
        self._ports.hold(attempt.suspect, now)

    def _drop(self, attempt: Attempt[R], now: float) -> None:
        if attempt.charged and attempt.state in (State.COUNTING, State.READY):
            # (A count without an answer may still be taken.)
            self.not_begun(attempt.key)
        attempt.state = State.OUT
        attempt.due = inf
        self._attempts.pop(attempt.suspect, None)
        self._turns.pop(attempt, None)
        self._admit(self._gate.leave(attempt), now)

    def _admit(self, attempts: list[Attempt[R]], now: float) -> None:
        for attempt in attempts:
            attempt.state = State.TURN
            self._turns[attempt] = None
        if attempts:
            self.pump(now)
