"""The requests that a server has, each from its first delivery until it leaves by the one exit.

A record is one request that this process has, whatever the number of its deliveries. It enters by `take` (or
`refuse`, or `recall`) and leaves by `_exit`, the only place that removes it from the index, frees its slot, tells its
receiver, remembers it and settles its deliveries. Three resources are separate: the *prefetch* (a delivery that is
not settled), a *slot* (a function that runs) and the *gate* of the suspects (`amphora.core.tries`). Only STARTING
and RUNNING have a slot.

========= ================================== ===============================================================
State     Event                              Next
========= ================================== ===============================================================
(new)     `recall`: the key is here          unchanged; the delivery joins that record
(new)     `recall`: finished                 REPLYING with the kept reply, else SETTLED (ack)
(new)     `refuse`                           REPLYING, apart from the index
(new)     `take`: redelivered, expired       SETTLED EXPIRED (ack)
(new)     `take`: not wanted                 SETTLED GIVEN_BACK; HOLDING if it was given back less than 1 s ago
(new)     `take`: a suspect                  GATED
(new)     `take`                             STARTING if a slot is free and none waits, else QUEUED
QUEUED    a slot is free                     STARTING
STARTING  `begin`                            RUNNING; SETTLED LOST or EXPIRED where it is not to run any more
GATED     `proceed` and a slot               STARTING, before those that are QUEUED
GATED     `give_up`                          BURYING
GATED     `hold`                             HOLDING
RUNNING   `finished`                         REPLYING; SETTLED DONE without a client
RUNNING   `ignored`                          SETTLED IGNORED, or DONE where ignored requests are dropped;
                                             HOLDING if it was ignored here before
RUNNING   `failed`                           as `unreadable` or `finished`; HOLDING, to be tried again, with letters
RUNNING   `unreadable`                       REPLYING; BURYING without a client; SETTLED DROPPED without letters
RUNNING   `ended`                            SETTLED GIVEN_BACK: the worker went away without a result
REPLYING  `replied`                          SETTLED DONE (remembered)
REPLYING  `reply_lost`                       SETTLED ABANDONED (remembered)
REPLYING  `unroutable`, `nacked`             PARKED, or SETTLED ABANDONED, see below
PARKED    `routed`, or due                   REPLYING, sent again
BURYING   `buried`                           REPLYING with what became of it, or SETTLED BURIED
BURYING   `not_buried`                       BURYING, sent again after 1, 2, 4 ... 30 s
HOLDING   due                                SETTLED GIVEN_BACK
waiting   `give_back_waiting`                SETTLED GIVEN_BACK (QUEUED, STARTING, GATED, HOLDING)
========= ================================== ===============================================================

How replies are parked, and when they are given up, `amphora.core.parking` says.

An event that the table does not list changes nothing, and is counted in `unexpected`. State is changed first, ports
are called last: a port may call back.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable
from math import inf
from typing import Generic, TypeVar

from amphora.core.alarms import Alarms
from amphora.core.finished import FinishedRequests, Reply
from amphora.core.parking import Parking
from amphora.core.records import AGAIN, Exit, Record, State
from amphora.core.remembered import remember
from amphora.core.request_ports import Options, Ports
from amphora.core.tries import Tries

__all__ = ["Exit", "Options", "Ports", "Record", "ServedRequests", "State"]

#: Seconds until a reply, or a dead letter, is sent again at last.
_AGAIN_MAX = 30.0

#: How often the route of one reply is restored before the reply is given up.
_RESTORES = 10

_NEW, _QUEUED, _STARTING, _RUNNING = State.NEW, State.QUEUED, State.STARTING, State.RUNNING
_REPLYING, _SETTLED, _PARKED, _DONE = State.REPLYING, State.SETTLED, State.PARKED, Exit.DONE

#: States in which a function may still begin.
_WAITING = (State.QUEUED, State.STARTING, State.GATED, State.HOLDING)


R = TypeVar("R", bound=Record)


class ServedRequests(Generic[R]):
    """Decides what happens to each request; see above.

    Args:
        options: How requests are served.
        ports: What is asked of the driver.
        finished: Memory of the finished requests.

    Attributes:
        accepting: Whether new requests are taken; otherwise they are given back.
        tries: Counts the tries of redelivered requests; None where they are not counted.
        records: Every record that has not left, in order of arrival.
        duplicates: Deliveries that were known already.
        tells_each: Whether the driver wants to be told of each record that leaves, also of an ordinary one.
        unexpected: Events that came in a state that does not list them.
    """

    def __init__(self, options: Options, ports: Ports[R], finished: FinishedRequests) -> None:
        self.accepting = True
        self.tries: Tries[R] | None = None
        self.records: dict[R, None] = {}
        self.duplicates = 0
        self.tells_each = True
        self.unexpected = 0
        self._options = options
        self._ports = ports
        self._current = ports.current
        self._finished = finished
        #: Those that have a slot, so that a slot cannot be freed twice.
        self._slots: dict[R, None] = {}
        self._by_key: dict[Hashable, R] = {}
        self._unnamed: dict[Hashable, dict[R, None]] = {}
        self._queue: deque[R] = deque()
        self._ready: deque[R] = deque()
        self._parking: Parking[R] = Parking(max(1, options.slots // 2))
        self._ignored: OrderedDict[Hashable, None] = OrderedDict()
        self._given_back: OrderedDict[Hashable, float] = OrderedDict()
        self._alarms: Alarms[R] = Alarms(ports.alarm)

    @property
    def waiting(self) -> int:
        """Requests that have not begun for want of a slot."""
        return len(self._queue) + len(self._ready)

    @property
    def used(self) -> int:
        """Slots in use."""
        return len(self._slots)

    @property
    def next_deadline(self) -> float:
        """When `tick` has something to do, or earlier."""
        own = self._alarms.next
        return min(own, self.tries.next_deadline) if self.tries else own

    def has_slot(self) -> bool:
        """Return whether a function can begin now."""
        return len(self._slots) < self._options.slots and not self._ready

    def wanted(self, record: R) -> bool:
        """Return whether a request is still to be run."""
        return self.accepting and self._is_current(record)

    # -- deliveries -------------------------------------------------------------------------

    def recall(self, record: R, now: float) -> bool:
        """Look whether the request is here or was finished before; return whether that was all there is to do."""
        if not record.named:
            return record.redelivered and self._join_unnamed(record)
        known = self._by_key.get(record.key)
        if known is not None:
            self._join(known, record)
            return True
        finished, reply = self._finished.recall(record.key, now)
        if not finished:
            return False
        self.duplicates += 1
        record.receiver = None
        self._enter(record)
        record.reply = reply
        if reply is None or record.client is None:
            self._exit(record, Exit.DONE, now)
        else:
            record.state = _REPLYING
            self._ports.send(record)
        return True

    def refuse(self, record: R, reply: Reply, now: float) -> None:
        """Answer a request that anybody may have sent; it leaves no trace in what is known of others."""
        record.receiver = None
        record.apart = True
        self.records[record] = None
        self._reply(record, reply, now)

    def set_aside(self, record: R, now: float) -> None:
        """Dead-letter or drop a request that must not be read."""
        record.receiver = None
        record.apart = True
        self.records[record] = None
        if self._options.letters:
            record.state = State.BURYING
            self._ports.bury(record)
        else:
            self._exit(record, Exit.DROPPED, now)

    def take(self, record: R, now: float) -> None:
        """Take a request that is not known here."""
        receiver = record.receiver
        if record.redelivered and record.perishable and self._ports.expired(record):
            # (Others are looked at when they begin.)
            record.receiver = None
            self._enter(record)
            self._exit(record, Exit.EXPIRED, now)
            return
        if not self.accepting or (receiver is not None and not receiver.take()):
            record.receiver = None
            self._enter(record)
            self._give_back_new(record, now)
            return
        if record.named and not record.apart:
            # As `_enter`, for every ordinary request.
            self.records[record] = None
            self._by_key[record.key] = record
        else:
            self._enter(record)
        if record.redelivered and self.tries is not None:
            record.state = State.GATED
            self.tries.ask(record, record.key, now)
            self._set_alarm()
        elif len(self._slots) < self._options.slots and not self._queue and not self._ready:
            self._start(record)
        else:
            record.state = _QUEUED
            self._queue.append(record)

    def give_back_waiting(self, now: float) -> None:
        """Give back what has not begun; what runs is the last for now."""
        waiting = [each for each in self.records if each.state in _WAITING]
        self._queue.clear()
        self._ready.clear()
        for record in waiting:
            if record.state in _WAITING:
                self._exit(record, Exit.GIVEN_BACK, now)

    # -- functions --------------------------------------------------------------------------

    def begin(self, record: R, now: float) -> bool:
        """The worker has the request; return whether it is to run the function."""
        if record.state is not _STARTING:
            return False
        # The latest delivery is the one of the present connection, if any is.
        if not self._current(record.tokens[-1]):
            # It is delivered again, here or elsewhere.
            self._exit(record, Exit.LOST, now)
            return False
        if record.perishable and self._ports.expired(record):
            self._exit(record, Exit.EXPIRED, now)
            return False
        record.state = _RUNNING
        record.begun = True
        if record.redelivered and self.tries is not None:
            self.tries.began(record)
        return True

    def finished(self, record: R, reply: Reply, now: float) -> None:
        """The function has returned or raised."""
        if record.state is _RUNNING:
            self._reply(record, reply, now)
        else:
            self.unexpected += 1

    def ignored(self, record: R, now: float) -> None:
        """The function has declined the request."""
        if record.state is not _RUNNING:
            self.unexpected += 1
            return
        if self._options.drop_ignored:
            self._exit(record, Exit.DONE, now)
        elif record.named and record.key not in self._ignored:
            remember(self._ignored, record.key, None)
            self._exit(record, Exit.IGNORED, now)
        else:
            # It has come back to us: no loop with the broker.
            self._hold(record, now + self._options.ignore_delay, now)

    def failed(self, record: R, reply: Reply, now: float) -> None:
        """The function has raised; a request without a client is tried again, where tries are counted."""
        if record.state is _RUNNING and record.client is None and self.tries is not None:
            self._hold(record, now + self._options.ignore_delay, now)
        else:
            self.finished(record, reply, now)

    def unreadable(self, record: R, reply: Reply, now: float) -> None:
        """The request cannot be read."""
        if record.state is not _RUNNING:
            self.unexpected += 1
        elif record.client is not None:
            self._reply(record, reply, now)
        elif self._options.letters:
            self._bury(record, now)
        else:
            self._exit(record, Exit.DROPPED, now)

    def ended(self, record: R, now: float) -> None:
        """The worker is done with the request; without a result, another server gets it."""
        if record.state is _RUNNING or record.state is _STARTING:
            self._exit(record, Exit.GIVEN_BACK, now)

    # -- tries: `amphora.core.tries.Ports` --------------------------------------------------

    def proceed(self, record: R, now: float) -> None:
        """Run a suspect in the next free slot."""
        if record.state is State.GATED:
            self._ready.append(record)
            self._advance(now)
        else:
            self.unexpected += 1

    def give_up(self, record: R, now: float) -> None:
        """Dead-letter a suspect that was tried too often."""
        if record.state is State.GATED:
            self._bury(record, now)
        else:
            self.unexpected += 1

    def hold(self, record: R, now: float) -> None:
        """Give a suspect back, after a moment."""
        if record.state is State.GATED:
            self._hold(record, now + AGAIN, now)
        else:
            self.unexpected += 1

    # -- replies ----------------------------------------------------------------------------

    def replied(self, record: R, now: float) -> None:
        """The broker has confirmed the reply."""
        if record.state is not _REPLYING:
            self.unexpected += 1
            return
        parking = self._parking
        if parking.full or parking.gone:
            parking.heard_of(record.client)
        self._exit(record, Exit.REFUSED if record.apart else _DONE, now)

    def reply_lost(self, record: R, why: str, now: float) -> None:
        """The broker never takes the reply."""
        if record.state is _REPLYING or record.state is State.PARKED:
            self._abandon(record, why, now)
        else:
            self.unexpected += 1

    def unroutable(self, record: R, now: float) -> None:
        """No queue takes the reply."""
        client = record.client
        if record.state is not _REPLYING or client is None:
            self.unexpected += 1
            return
        if self._parking.is_gone(client, now):
            self._abandon(record, f"client {client!r} is gone", now)
        elif record.restores >= _RESTORES:
            self._abandon(record, f"the queue of client {client!r} is deleted again and again", now)
        else:
            record.restores += 1
            record.full = False
            self._park(record, inf, now)
            if record.state is State.PARKED and self._parking.begin_to_look(client):
                self._ports.restore_route(record)

    def nacked(self, record: R, now: float) -> None:
        """The queue refuses the reply: it is full."""
        client = record.client
        if record.state is not _REPLYING or client is None:
            self.unexpected += 1
            return
        self._parking.refused(client, now)
        record.full = True
        delay, record.again = record.again, min(2 * record.again, _AGAIN_MAX)
        self._park(record, now + delay, now)

    def routed(self, client: str, found: bool, now: float) -> None:
        """The way to a client's queue was restored, or it has no queue."""
        waiting = self._parking.looked(client, found, now)
        gone = client in self._parking.gone
        for record in waiting:
            if found:
                self._unpark(record)
            elif not gone:
                # Its queue may have been deleted under a client that is about to declare it again.
                record.looked = True
                self._alarms.set(record, now + AGAIN)
        for record in waiting:
            if found:
                self._ports.send(record)
            elif gone:
                self._abandon(record, f"client {client!r} is gone", now)

    def is_parked(self, client: str) -> bool:
        """Return whether a reply waits for the queue of a client to be found."""
        return self._parking.is_waited_for(client)

    # -- dead letters -----------------------------------------------------------------------

    def buried(self, record: R, reply: Reply | None, now: float) -> None:
        """The broker has confirmed the dead letter; the reply tells the client, if there is one."""
        if record.state is not State.BURYING:
            self.unexpected += 1
        elif reply is None or record.client is None:
            self._exit(record, Exit.BURIED, now)
        else:
            record.due = inf
            self._reply(record, reply, now)

    def not_buried(self, record: R, now: float) -> None:
        """The broker has refused the dead letter."""
        if record.state is not State.BURYING:
            self.unexpected += 1
            return
        delay, record.again = record.again, min(2 * record.again, _AGAIN_MAX)
        self._alarms.set(record, now + delay)

    # -- time -------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Handle what is due; an early or repeated call does no harm."""
        self._alarms.fired()
        try:
            for record in self._alarms.take(now):
                self._handle_due(record, now)
            if self.tries:
                self.tries.tick(now)
                self.tries.pump(now)
        finally:
            self._set_alarm()

    def _handle_due(self, record: R, now: float) -> None:
        if record.state is State.HOLDING:
            self._exit(record, Exit.GIVEN_BACK if self._is_current(record) else Exit.LOST, now)
        elif record.state is State.PARKED:
            self._unpark(record)
            self._ports.send(record)
        elif record.state is State.BURYING:
            self._ports.bury(record)

    # -- transitions ------------------------------------------------------------------------

    def _enter(self, record: R) -> None:
        self.records[record] = None
        if record.apart:
            return
        if record.named:
            self._by_key[record.key] = record
        else:
            self._unnamed.setdefault(record.key, {})[record] = None

    def _join(self, known: R, record: R) -> None:
        """A request has come again while it is here: only its delivery is of interest."""
        self.duplicates += 1
        current = self._current
        known.tokens = [token for token in known.tokens if current(token)] + record.tokens
        # Another server may have counted a try of it meanwhile.
        known.counter = known.counter or record.counter
        record.state = _SETTLED

    def _join_unnamed(self, record: R) -> bool:
        """Take a redelivery for that of an equal request whose deliveries were lost."""
        for known in self._unnamed.get(record.key, ()):
            if not self._is_current(known):
                self._join(known, record)
                return True
        return False

    def _is_current(self, record: R) -> bool:
        return self._current(record.tokens[-1])

    def _start(self, record: R) -> None:
        self._slots[record] = None
        record.state = _STARTING
        self._ports.start(record)

    def _advance(self, now: float) -> None:
        """Fill the free slots: suspects whose try is counted first."""
        slots = self._options.slots
        while len(self._slots) < slots:
            if self._ready:
                self._start(self._ready.popleft())
            elif self._queue:
                self._start(self._queue.popleft())
            else:
                break
        if self.tries:
            self.tries.pump(now)
            self._set_alarm()

    def _run_ended(self, record: R, now: float) -> None:
        """Free what only a running function has; the record's state is another one by now."""
        if record.redelivered and self.tries is not None:
            self.tries.run_ended(record, now)
        if self._queue or self._ready or self.tries:
            self._advance(now)

    def _reply(self, record: R, reply: Reply, now: float) -> None:
        ran = record.state is _RUNNING
        self._slots.pop(record, None)
        record.reply = reply
        record.again = AGAIN
        record.state = _REPLYING
        if record.client is None:
            self._exit(record, Exit.REFUSED if record.apart else _DONE, now, ran=ran)
            return
        if ran and (record.redelivered or self._queue or self._ready or self.tries):
            self._run_ended(record, now)
        self._ports.send(record)

    def _unpark(self, record: R) -> None:
        self._parking.records.pop(record, None)
        record.due = inf
        record.state = _REPLYING

    def _park(self, record: R, due: float, now: float) -> None:
        record.state = State.PARKED
        self._parking.records[record] = None
        self._alarms.set(record, due)
        surplus = self._parking.surplus(now)
        if surplus is not None:
            why = "its queue is full" if surplus.full else "it has no queue"
            self._abandon(surplus, f"client {surplus.client!r} is gone, it seems: {why}", now)

    def _abandon(self, record: R, why: str, now: float) -> None:
        self._ports.abandoned(record, why)
        self._exit(record, Exit.REFUSED if record.apart else Exit.ABANDONED, now)

    def _bury(self, record: R, now: float) -> None:
        """Take it out of the index: what is given back from the dead letters is a request of its own."""
        ran = record.state is _RUNNING
        self._slots.pop(record, None)
        if record.named:
            self._by_key.pop(record.key, None)
        else:
            self._remove_unnamed(record)
        record.apart = True
        record.state = State.BURYING
        if self.tries is not None:
            self.tries.forget(record.key)
        if ran:
            self._run_ended(record, now)
        self._ports.bury(record)

    def _hold(self, record: R, until: float, now: float) -> None:
        ran = record.state is _RUNNING
        self._slots.pop(record, None)
        record.state = State.HOLDING
        self._alarms.set(record, until)
        if ran:
            if record.redelivered and self.tries is not None:
                # It was ignored: a last try need not be waited for.
                self.tries.leave(record, now)
            self._advance(now)

    def _give_back_new(self, record: R, now: float) -> None:
        """Give back a request that was not taken; not twice within a second."""
        before = self._given_back.get(record.key, -inf)
        if now - before < AGAIN:
            record.state = State.HOLDING
            self._alarms.set(record, before + AGAIN)
        else:
            self._exit(record, Exit.GIVEN_BACK, now)

    def _exit(self, record: R, how: Exit, now: float, *, ran: bool = False) -> None:
        """Let a record leave: the one way out."""
        state = record.state
        if state is _SETTLED:
            self.unexpected += 1
            return
        # Each step may be repeated: what a signal handler raises may end this anywhere.
        had_slot = self._slots.pop(record, record) is None or ran
        self.records.pop(record, None)
        if not record.apart:
            if record.named:
                self._by_key.pop(record.key, None)
                if how is _DONE or how is Exit.ABANDONED:
                    self._finished.remember(record.key, record.reply, now)
                elif how is Exit.GIVEN_BACK:
                    remember(self._given_back, record.key, now)
            else:
                self._remove_unnamed(record)
        if state is _PARKED:
            self._parking.records.pop(record, None)
        record.due = inf
        record.state = _SETTLED
        tries = self.tries
        try:
            if tries is not None:
                self._settle_tries(tries, record, how, now)
            receiver = record.receiver
            if receiver is not None:
                if how.handled:
                    receiver.finish_one()
                else:
                    receiver.lose_one()
            self._settle(record, how)
            if self.tells_each or how is not _DONE or record.counter:
                self._ports.left(record, how)
        finally:
            if had_slot and (self._queue or self._ready or tries):
                self._advance(now)

    def _settle_tries(self, tries: Tries[R], record: R, how: Exit, now: float) -> None:
        if record.redelivered:
            tries.leave(record, now)
        if record.apart:
            # Perhaps a forged one, which has the key of another.
            return
        if not record.redelivered and not record.begun and (how is Exit.LOST or how is Exit.GIVEN_BACK):
            # Its first delivery counts as a try wherever it is delivered next, and was none.
            tries.not_begun(record.key)
        if how.acks:
            tries.forget(record.key)

    def _settle(self, record: R, how: Exit) -> None:
        """Settle the deliveries of the present connection, each once."""
        if how.acks:
            settle = self._ports.ack
        elif how.gives_back:
            settle = self._ports.give_back
        elif how is Exit.DROPPED:
            settle = self._ports.drop
        else:
            return
        current = self._current
        for token in record.tokens:
            if current(token):
                settle(token)

    def _remove_unnamed(self, record: R) -> None:
        same = self._unnamed.get(record.key)
        if same is not None:
            same.pop(record, None)
            if not same:
                del self._unnamed[record.key]

    def _set_alarm(self) -> None:
        self._alarms.announce(self.next_deadline)

    # -- invariants -------------------------------------------------------------------------

    def check(self) -> None:
        """Assert the invariants."""
        options, records = self._options, self.records
        states = [each.state for each in records]
        assert State.SETTLED not in states
        assert State.NEW not in states
        with_slot = {id(each) for each in records if each.state in (_RUNNING, _STARTING)}
        assert {id(each) for each in self._slots} == with_slot
        assert len(with_slot) <= options.slots
        indexed = [*self._by_key.values(), *(each for same in self._unnamed.values() for each in same)]
        assert {id(each) for each in indexed} == {id(each) for each in records if not each.apart}
        assert all(each.key == key for key, each in self._by_key.items())
        assert list(self._queue) == [each for each in self._queue if each.state is _QUEUED]
        assert len(self._queue) == states.count(_QUEUED)
        assert all(each.state is State.GATED for each in self._ready)
        assert not (len(with_slot) < options.slots and (self._queue or self._ready)), (
            "a slot is free, and a request waits"
        )
        assert {id(each) for each in self._parking.records} == {
            id(each) for each in records if each.state is State.PARKED
        }
        for record in records:
            assert record.tokens
            if record.state is State.HOLDING:
                assert record.due < inf
            if record.state is State.PARKED and record.due == inf:
                assert record.client in self._parking.looking
        if self.tries is not None:
            self.tries.check()
            for record in records:
                attempt = self.tries.attempt_of(record)
                if record.state is State.GATED:
                    assert attempt is not None
        self._finished.check()
