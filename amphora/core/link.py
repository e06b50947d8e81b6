"""`LinkMachine`: the life of a connection and of the greenlet that owns it.

Theory. A link wants a connection until it is stopped. One greenlet, the owner, does its input and output; the machine
decides when to connect, to which address, and what to do when a connection or its owner ends. The owner is a part that
can fail like any other: its end is an event, whatever caused it. `stop` is an event too, and not a procedure of the
caller, who only waits: if that wait is interrupted, the machine goes on to STOPPED by itself at ``until``.

Each owner has a number, and its events bear it. What a former owner says is ignored: two owners cannot mix.

========================  ======================  =========================  ==========================================
State                     Event                   Next                       Action
========================  ======================  =========================  ==========================================
STOPPED, REFUSED, DEAD    start                   CONNECTING                 spawn an owner
CONNECTING                connected               ATTACHING
ATTACHING                 ready                   ATTACHED                   tell that it is attached
CONNECTING                lost                    BACKING_OFF, REFUSED       next address
ATTACHING                 lost                    BACKING_OFF, REFUSED       disconnect; next address
ATTACHED                  lost                    BACKING_OFF                disconnect; reset failures if it was steady
BACKING_OFF               tick, due               CONNECTING
DEAD                      tick, due               CONNECTING                 spawn an owner
ATTACHING, ATTACHED       stop                    DRAINING                   wake the owner; alarm at ``until``
CONNECTING, BACKING_OFF   stop                    STOPPED                    end the owner; CONNECTING: next address
DEAD                      stop                    STOPPED
DRAINING                  drained                 CLOSING
CLOSING                   closed                  STOPPED                    disconnect
DRAINING, CLOSING         lost                    STOPPED                    disconnect
DRAINING, CLOSING         tick, ``until``         STOPPED                    disconnect; end the owner
DRAINING, CLOSING         start                   same                       CONNECTING after STOPPED
DRAINING, CLOSING         stop                    same                       the earlier ``until``; not CONNECTING again
DRAINING, CLOSING         owner_ended             STOPPED                    disconnect
CONNECTING ... ATTACHED   owner_ended             DEAD                       disconnect; alarm after the back-off
BACKING_OFF               owner_ended             DEAD                       alarm after the back-off
any but STOPPED, REFUSED  abort                   STOPPED                    disconnect; end the owner
any                       forked                  STOPPED                    forget the connection without a byte
========================  ======================  =========================  ==========================================

REFUSED follows on `lost` if the failure is permanent and the link was never let in: while CONNECTING, it was never
established; while ATTACHING, it was never ATTACHED. A failure that is local to an address (TLS) must be that of every
address. A pair of state and event that is not in the table changes nothing and is counted in `unexpected`.

Suspicion: which message broke connections is in `amphora.core.suspicion`.

Invariants, asserted by `check` and by the test:

- L1: `running` is true exactly in CONNECTING, ATTACHING, ATTACHED and BACKING_OFF.
- L2: one owner exists from CONNECTING to CLOSING and in BACKING_OFF, and none elsewhere.
- L3: from any state, `start` with a reachable broker leads to ATTACHED, and `stop` to STOPPED by ``until``.
- L4: between two times of ATTACHING lies exactly one ``disconnect`` with ``attached``.
- L5: no message is the culprit of more than N losses in a row.
- L7: two attempts at one address lie at least a back-off apart, except for the first retry after a steady connection.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from amphora.core.suspicion import Suspicion

__all__ = ["Kind", "LinkMachine", "LinkOptions", "LinkPorts", "State"]

#: Seconds for which a connection has to last to reset the back-off.
STEADY = 1.0


class State(Enum):
    """How a link is."""

    STOPPED = "stopped"
    CONNECTING = "connecting"
    ATTACHING = "attaching"
    ATTACHED = "attached"
    BACKING_OFF = "backing off"
    DRAINING = "draining"
    CLOSING = "closing"
    REFUSED = "refused"
    DEAD = "dead"


class Kind(Enum):
    """What a failure means for the next attempt."""

    #: Another attempt may succeed.
    TEMPORARY = "temporary"
    #: Another attempt has the same end, at any address.
    PERMANENT = "permanent"
    #: Another attempt has the same end at this address.
    LOCAL = "local"


_STOPPED, _CONNECTING, _ATTACHING, _ATTACHED = State.STOPPED, State.CONNECTING, State.ATTACHING, State.ATTACHED
_BACKING_OFF, _DRAINING, _CLOSING, _REFUSED, _DEAD = (
    State.BACKING_OFF,
    State.DRAINING,
    State.CLOSING,
    State.REFUSED,
    State.DEAD,
)
_RUNNING = (_CONNECTING, _ATTACHING, _ATTACHED, _BACKING_OFF)
_STOPPING = (_DRAINING, _CLOSING)
#: There is a connection that the worker knows, or is about to know.
_IN_USE = (_ATTACHING, _ATTACHED, _DRAINING, _CLOSING)
_OWNED = (*_RUNNING, *_STOPPING)


@dataclass(frozen=True)
class LinkOptions:
    """How a link connects.

    Attributes:
        addresses: How many addresses there are; at least 1.
        delay: Seconds before the first repeated attempt, doubled each round.
        delay_max: The most seconds between attempts.
        jitter: Returns a number from 0 to 1.
    """

    addresses: int
    delay: float
    delay_max: float
    jitter: Callable[[], float]


class LinkPorts(Protocol):
    """What the machine tells its driver; nothing of it blocks, yields, raises or logs."""

    def spawn(self, owner: int) -> None:
        """Start an owner with this number."""

    def wake(self) -> None:
        """Let the owner look at the state."""

    def disconnect(self, attached: bool) -> None:
        """Close the connection, if there is one, without a farewell.

        Args:
            attached: Whether the worker knows the connection: tell it.
        """

    def end_owner(self) -> None:
        """End the owner, if it has not ended: nothing that it says counts any more."""

    def forget(self) -> None:
        """Forget the connection and its owner without writing a byte, in a forked child."""

    def alarm(self, at: float) -> None:
        """Call `LinkMachine.tick` at this time."""

    def attached(self) -> None:
        """The link is ATTACHED."""

    def stopped(self) -> None:
        """The link has reached STOPPED, though it may connect again at once."""

    def fatal(self, error: object) -> None:
        """The link is REFUSED; called once, last."""


class LinkMachine:
    """The state of one link. Every event may come in every state.

    Args:
        options: How to connect.
        ports: What is told.

    Attributes:
        state: The state.
        owner: Number of the present owner, or of the last one.
        address: Index of the address to connect to.
        failures: Failures since the last steady connection.
        reconnects: How many times it was ATTACHED again.
        next_deadline: When `tick` is due; infinite where it is not.
        unexpected: How many events found no row in the table.
        suspicion: Which messages broke connections.
    """

    __slots__ = (
        "_again",
        "_attached_at",
        "_established",
        "_ever_attached",
        "_hopeless",
        "_options",
        "_ports",
        "address",
        "failures",
        "next_deadline",
        "owner",
        "reconnects",
        "state",
        "suspicion",
        "unexpected",
    )

    def __init__(self, options: LinkOptions, ports: LinkPorts) -> None:
        self._options = options
        self._ports = ports
        self.state = _STOPPED
        self.owner = 0
        self.address = 0
        self.failures = 0
        self.reconnects = 0
        self.next_deadline = math.inf
        self.unexpected = 0
        self.suspicion = Suspicion()
        self._again = False
        self._attached_at = 0.0
        self._established = False
        self._ever_attached = False
        # Addresses at which the last attempt failed for good; used as a set.
        self._hopeless: dict[int, None] = {}

    # -- questions --------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether it is connected or tries to be."""
        return self.state in _RUNNING

    def is_owner(self, owner: int) -> bool:
        """Return whether this is the number of the present owner."""
        return owner == self.owner and self.state in _OWNED

    # -- from above -------------------------------------------------------------------------

    def start(self, now: float) -> None:
        """Connect and stay connected."""
        if self.state in _STOPPING:
            self._again = True
        elif self.state is _DEAD:
            self._to_connecting(spawn=True)
        elif self.state not in _RUNNING:
            self._restart()
        self._note(now)

    def stop(self, until: float, now: float) -> None:
        """Disconnect: in good order by ``until``, else without a farewell."""
        if self.state in (_ATTACHING, _ATTACHED):
            # The alarm first: where a signal's handler raises in between, an alarm too many does no harm.
            self._ports.alarm(until)
            self._again = False
            self.next_deadline = until
            self.state = _DRAINING
            self._ports.wake()
        elif self.state in _STOPPING:
            self._again = False
            if until < self.next_deadline:
                self._ports.alarm(until)
                self.next_deadline = until
        elif self.state in _RUNNING or self.state is _DEAD:
            self._to_stopped()
        self._note(now)

    def abort(self) -> None:
        """Disconnect without a farewell; `start` may follow at once."""
        self._again = False
        if self.state not in (_STOPPED, _REFUSED):
            self._to_stopped()

    def forked(self) -> None:
        """This is a forked child: the connection is the parent's."""
        self._again = False
        self.next_deadline = math.inf
        self.state = _STOPPED
        self._ports.forget()

    # -- from the owner ---------------------------------------------------------------------

    def connected(self, owner: int, now: float) -> None:
        """There is a connection; the worker is attached to it next."""
        if owner != self.owner or self.state is not _CONNECTING:
            self.unexpected += 1
            return
        self._established = True
        self.suspicion.tick(now)
        self.state = _ATTACHING

    def ready(self, owner: int, now: float) -> None:
        """The worker is attached."""
        if owner != self.owner or self.state is not _ATTACHING:
            # Stopped meanwhile, perhaps: the worker says goodbye next.
            self.unexpected += 1
            return
        self._attached_at = now
        if self._ever_attached:
            self.reconnects += 1
        self._ever_attached = True
        self._hopeless.clear()
        self.state = _ATTACHED
        self._ports.attached()

    def lost(self, owner: int, kind: Kind, error: object, now: float, *, culprit: bytes | None = None) -> bool:
        """An attempt has failed, or the connection is lost.

        Args:
            owner: Number of the owner that says so.
            kind: What it means for the next attempt.
            error: Given to `LinkPorts.fatal`.
            now: Monotonic seconds.
            culprit: Header of the message that was in hand.

        Returns:
            Whether the culprit has become a suspect with this.
        """
        if not self.is_owner(owner) or self.state is _BACKING_OFF:
            self.unexpected += 1
            return False
        suspect = culprit is not None and self.suspicion.blame(culprit, now)
        if self.state in _STOPPING:
            self._to_stopped()
        elif self._is_refused(kind):
            self._to_refused(error)
        else:
            self._to_backing_off(now, guilty=culprit is not None)
        return suspect

    def drained(self, owner: int) -> None:
        """The worker has said what was still to be said."""
        if owner != self.owner or self.state is not _DRAINING:
            self.unexpected += 1
            return
        self.state = _CLOSING

    def closed(self, owner: int, now: float) -> None:
        """The connection was closed in good order."""
        if owner != self.owner or self.state is not _CLOSING:
            self.unexpected += 1
            return
        self._to_stopped()
        self._note(now)

    def owner_ended(self, owner: int, now: float) -> None:
        """The owner has ended by itself, was killed, or was interrupted."""
        if not self.is_owner(owner):
            # That is how each ends whose link was stopped.
            return
        if self.state in _STOPPING:
            self._to_stopped()
        else:
            self._to_dead(now)

    # -- from time --------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Do what is due; may come early, and more than once."""
        if now < self.next_deadline:
            return
        if self.state is _BACKING_OFF:
            self._to_connecting(spawn=False)
        elif self.state is _DEAD:
            self._to_connecting(spawn=True)
        elif self.state in _STOPPING:
            self._to_stopped()

    # -- states -----------------------------------------------------------------------------

    def _restart(self) -> None:
        self._established = self._ever_attached = False
        self._hopeless.clear()
        self.failures = 0
        self._to_connecting(spawn=True)

    def _to_connecting(self, *, spawn: bool) -> None:
        self.next_deadline = math.inf
        if spawn:
            self.owner += 1
        self.state = _CONNECTING
        if spawn:
            self._ports.spawn(self.owner)

    def _to_backing_off(self, now: float, *, guilty: bool) -> None:
        former = self.state
        if former is _ATTACHED:
            if now - self._attached_at >= STEADY and not guilty:
                self.failures = 0
        else:
            self._next_address()
        self.failures += 1
        self.next_deadline = now + self._delay()
        self.state = _BACKING_OFF
        self._ports.disconnect(former is not _CONNECTING)

    def _to_refused(self, error: object) -> None:
        former = self.state
        self._next_address()
        self.next_deadline = math.inf
        self.state = _REFUSED
        self._ports.disconnect(former is not _CONNECTING)
        self._ports.end_owner()
        self._ports.fatal(error)

    def _to_dead(self, now: float) -> None:
        former = self.state
        self.failures += 1
        at = now + max(self._options.delay, self._delay())
        self._ports.alarm(at)
        self.next_deadline = at
        self.state = _DEAD
        self._ports.disconnect(former in _IN_USE)
        self._ports.end_owner()

    def _to_stopped(self) -> None:
        former = self.state
        if former in (_CONNECTING, _ATTACHING):
            # The attempt would perhaps have failed: the other link of the endpoint may have, at the same address.
            self._next_address()
        again, self._again = self._again, False
        self.next_deadline = math.inf
        self.state = _STOPPED
        self._ports.disconnect(former in _IN_USE)
        self._ports.end_owner()
        self._ports.stopped()
        if again and self.state is _STOPPED:
            self._restart()

    def _next_address(self) -> None:
        self.address = (self.address + 1) % self._options.addresses

    def _is_refused(self, kind: Kind) -> bool:
        """Note whether this address is hopeless; return whether all are, and the link was never let in."""
        if self._ever_attached or (self._established and self.state is _CONNECTING):
            # (One that broke before its worker had attached was let in all the same.)
            return False
        if kind is not Kind.LOCAL:
            self._hopeless.pop(self.address, None)
            return kind is Kind.PERMANENT
        # A wrong certificate is one node's own; a wrong password is wrong for the whole cluster.
        self._hopeless[self.address] = None
        return len(self._hopeless) == self._options.addresses

    def _delay(self) -> float:
        """Return the seconds before the next attempt: none until each address had its turn, then more each round."""
        options = self._options
        round_ = (self.failures - 1) // options.addresses
        if round_ == 0:
            return 0.0
        return min(options.delay_max, options.delay * 2.0 ** min(round_, 30)) * (0.5 + options.jitter() / 2)

    def _note(self, now: float) -> None:
        """Catch up on what is due, where a timer is late."""
        if self.next_deadline <= now and self.state in (*_STOPPING, _DEAD):
            self.tick(now)

    def check(self) -> None:
        """Assert the invariants."""
        self.suspicion.check()
        assert self.running == (self.state in _RUNNING)
        assert (self.next_deadline < math.inf) == (self.state in (_BACKING_OFF, _DEAD, *_STOPPING))
        assert not self._again or self.state in _STOPPING
        assert 0 <= self.address < self._options.addresses
