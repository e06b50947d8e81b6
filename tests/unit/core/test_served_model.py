"""Served requests under any order of events, against accounts that the test keeps itself.

The machine's own invariants are checked after each event and inside the ports that send. Beside them stand a broker
with its messages and what became of them, and what ran: nothing is acknowledged before its reply is confirmed, no key
runs twice at once, or again while it is remembered, and when all has been answered nothing is left.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from amphora.core.finished import Reply
from amphora.core.receiver import Intake
from amphora.core.requests import Exit, ServedRequests, State
from amphora.core.tries import State as TryState
from amphora.core.tries import Tries
from tests.unit.core.served import REPLY, Request, Shop, Token

#: Keys, and the clients that send them.
CLIENTS = {"a": "near", "b": "gone", "c": None}
SLOTS, LIMIT, REMEMBERED = 2, 3, 4

indexes = st.integers(0, 50)
flags = st.booleans()


class Model(RuleBasedStateMachine):
    """Events of the broker, of the pool, of clients and of time."""

    new_shop: Callable[[], Shop] = staticmethod(lambda: Shop(slots=SLOTS, limit=LIMIT, count=REMEMBERED, size=5000))

    def __init__(self) -> None:
        super().__init__()
        self.shop = self.new_shop()
        self.tokens: dict[Token, Request] = {}
        self.confirmed: set[Any] = set()
        self.receiver = Intake(3, lambda: None)
        self.full: set[Any] = set()

    # -- rules ------------------------------------------------------------------------------

    @rule(key=st.sampled_from(list(CLIENTS)), nameless=flags, again=flags, late=flags, ours=flags)
    def deliver(self, key: str, nameless: bool, again: bool, late: bool, ours: bool) -> None:
        self._deliver(key, nameless=nameless, again=again, late=late, ours=ours)

    def _deliver(self, key: str, *, nameless: bool, again: bool, late: bool, ours: bool) -> Request:
        token = Token(self.shop.epoch)
        named = not (nameless and ours)
        request = self.tokens[token] = self.shop.deliver(
            token,
            key=(key, named),
            client=CLIENTS[key],
            named=named,
            redelivered=again,
            receiver=self.receiver if ours else None,
            deadline=self.shop.now + 5 if late else 1e9,
        )
        return request

    @rule(key=st.sampled_from(list(CLIENTS)))
    def serve(self, key: str) -> None:
        """All goes well, as far as a slot is free."""
        request = self._deliver(key, nameless=False, again=False, late=False, ours=False)
        if request in self.shop.started:
            self.begin(self.shop.started.index(request))
        if request in self.shop.running:
            self.shop.finish(request)
        if request in self.shop.sent:
            self.confirmed.add(request)
            self.shop.confirm(request)

    @rule(key=st.sampled_from(list(CLIENTS)), count=st.integers(0, LIMIT - 1), how=st.sampled_from(["end", "lose"]))
    def serve_suspect(self, key: str, count: int, how: str) -> None:
        """A request comes again, and its try is made; its reply may be lost."""
        shop, tries = self.shop, self.shop.machine.tries
        assert tries is not None
        request = self._deliver(key, nameless=False, again=True, late=False, ours=False)
        if request in shop.asked:
            shop.asked.remove(request)
            tries.told(request, count, shop.now)
        if request in shop.counting:
            shop.counting.remove(request)
            tries.counted(request, shop.now)
        if request in shop.started:
            self.begin(shop.started.index(request))
        if request in shop.running:
            shop.finish(request)
        if request in shop.sent and how == "lose":
            shop.sent.remove(request)
            shop.machine.reply_lost(request, "lost", shop.now)

    @rule(client=st.sampled_from(("near", "gone")))
    def refuse(self, client: str) -> None:
        token = Token(self.shop.epoch)
        request = self.tokens[token] = Request(token, key=("a" if client == "near" else "b", True), client=client)
        self.shop.machine.refuse(request, REPLY, self.shop.now)

    @precondition(lambda self: self.shop.started)
    @rule(index=indexes)
    def begin(self, index: int) -> None:
        request = self.shop.started[index % len(self.shop.started)]
        others = [each.key for each in self.shop.running if each.named]
        latest = list(self.shop.finished.items())[-REMEMBERED:]
        known = [key for key, when in latest if when > self.shop.now - 1000]
        if self.shop.begin(request):
            assert not request.named or request.key not in others, "a key runs twice at once"
            assert not request.named or request.key not in known, "a finished key runs again"

    @precondition(lambda self: self.shop.running)
    @rule(index=indexes, how=st.sampled_from(["finish", "large", "ignore", "fail", "unreadable", "vanish"]))
    def end(self, index: int, how: str) -> None:
        shop = self.shop
        request = shop.running[index % len(shop.running)]
        if how in ("finish", "large"):
            shop.finish(request, REPLY if how == "finish" else Reply("t", bytes(1000)))
            return
        shop.running.remove(request)
        if how == "ignore":
            shop.machine.ignored(request, shop.now)
        elif how == "fail":
            shop.machine.failed(request, REPLY, shop.now)
        elif how == "unreadable":
            shop.machine.unreadable(request, REPLY, shop.now)
        shop.machine.ended(request, shop.now)

    @precondition(lambda self: self.shop.sent)
    @rule(index=indexes, how=st.sampled_from(["confirm", "confirm", "nack", "unroutable", "lost"]))
    def answer(self, index: int, how: str) -> None:
        shop = self.shop
        request = shop.sent[index % len(shop.sent)]
        if how == "confirm":
            self.confirmed.add(request)
            shop.confirm(request)
        elif how == "nack":
            shop.nack(request)
        elif how == "unroutable":
            shop.unroutable(request)
        else:
            shop.sent.remove(request)
            shop.machine.reply_lost(request, "too large", shop.now)

    @precondition(lambda self: self.shop.looking)
    @rule(index=indexes, found=flags)
    def look(self, index: int, found: bool) -> None:
        client = self.shop.looking[index % len(self.shop.looking)].client
        assert client is not None
        self.shop.look(client, found=found)

    @precondition(lambda self: self.shop.letters)
    @rule(index=indexes, taken=flags)
    def bury(self, index: int, taken: bool) -> None:
        request = self.shop.letters.pop(index % len(self.shop.letters))
        if taken:
            self.confirmed.add(request)
            self.shop.machine.buried(request, REPLY, self.shop.now)
        else:
            self.shop.machine.not_buried(request, self.shop.now)

    @precondition(lambda self: self.shop.asked)
    @rule(index=indexes, count=st.integers(0, LIMIT), refused=flags)
    def tell(self, index: int, count: int, refused: bool) -> None:
        tries = self.shop.machine.tries
        assert tries is not None
        suspect = self.shop.asked.pop(index % len(self.shop.asked))
        if refused:
            tries.refused(suspect, self.shop.now)
        else:
            tries.told(suspect, count, self.shop.now)

    @precondition(lambda self: self.shop.counting)
    @rule(index=indexes, taken=flags)
    def count(self, index: int, taken: bool) -> None:
        tries = self.shop.machine.tries
        assert tries is not None
        suspect = self.shop.counting.pop(index % len(self.shop.counting))
        if taken:
            tries.counted(suspect, self.shop.now)
        else:
            tries.not_counted(suspect, self.shop.now)

    @rule()
    def lose_channel(self) -> None:
        self.shop.lose_channel()

    @rule(seconds=st.sampled_from([0.1, 1.0, 10.0, 60.0]))
    def advance(self, seconds: float) -> None:
        self.shop.advance(seconds)

    @rule()
    def advance_to_the_next_deadline(self) -> None:
        at = self.shop.machine.next_deadline
        if at < 1e6:
            self.shop.advance(at - self.shop.now)

    @rule(can=flags)
    def block(self, can: bool) -> None:
        self.shop.can = can

    @rule()
    def stop_and_serve_again(self) -> None:
        self.shop.machine.accepting = False
        self.shop.machine.give_back_waiting(self.shop.now)
        assert all(each.state not in (State.QUEUED, State.STARTING, State.GATED) for each in self.shop.machine.records)
        self.shop.machine.accepting = True

    # -- what always holds ------------------------------------------------------------------

    @invariant()
    def check(self) -> None:
        shop, machine = self.shop, self.shop.machine
        machine.check()
        self.receiver.check()
        assert len(shop.running) <= SLOTS
        for request in self.tokens.values():
            assert len(request.exits) <= 1, "a request left twice"
        assert sum(len(each.tokens) for each in machine.records) <= len(self.tokens)

    @invariant()
    def nothing_is_acknowledged_too_early(self) -> None:
        for token, request in self.tokens.items():
            if token.settled == "ack" and request.client is not None and request.begun:
                assert request in self.confirmed or request in self.shop.dropped_replies

    @invariant()
    def a_last_try_runs_alone(self) -> None:
        tries = self.shop.machine.tries
        assert tries is not None
        attempts = [(each, tries.attempt_of(each)) for each in self.shop.running]
        counted = [attempt for _, attempt in attempts if attempt is not None and attempt.charged]
        assert not any(each.exclusive for each in counted) or len(counted) == 1
        waiting = [each for each in self.shop.machine.records if each.state is State.GATED]
        assert not any(each in self.shop.machine._slots for each in waiting), "a suspect that waits has a slot"

    def teardown(self) -> None:
        """Answer everything: nothing is left."""
        shop = self.shop
        shop.can = True
        tries = shop.machine.tries
        assert tries is not None
        for _ in range(1000):
            if not shop.machine.records:
                break
            while shop.asked:
                tries.told(shop.asked.pop(), 0, shop.now)
            while shop.counting:
                tries.counted(shop.counting.pop(), shop.now)
            while shop.started:
                shop.begin(shop.started[0])
            while shop.running:
                shop.finish(shop.running[0])
            while shop.sent:
                shop.confirm(shop.sent[0])
            while shop.looking:
                client = shop.looking[0].client
                assert client is not None
                shop.look(client, found=True)
            while shop.letters:
                shop.machine.buried(shop.letters.pop(), REPLY, shop.now)
            shop.advance(1.0)
        machine = shop.machine
        assert not machine.records, "requests are left"
        assert machine.used == 0
        assert self.receiver.idle, "the receiver waits for a request that has left"
        assert len(tries) == 0


# Planted bugs: each must be found.


class _AckBeforeConfirm(ServedRequests[Request]):
    def _reply(self, record: Request, reply: Reply, now: float) -> None:
        for token in record.tokens:
            if self._ports.current(token):
                self._ports.ack(token)
        record.tokens = record.tokens[-1:]
        super()._reply(record, reply, now)


class _ExitsTwice(ServedRequests[Request]):
    def _exit(self, record: Request, how: Exit, now: float, *, ran: bool = False) -> None:
        super()._exit(record, how, now, ran=ran)
        if how is Exit.ABANDONED:
            self._ports.left(record, how)


class _SlotKeptInParked(ServedRequests[Request]):
    def _park(self, record: Request, due: float, now: float) -> None:
        self._slots[record] = None
        super()._park(record, due, now)


class _LostNotReturnedToReceiver(ServedRequests[Request]):
    def _exit(self, record: Request, how: Exit, now: float, *, ran: bool = False) -> None:
        if how is Exit.LOST:
            record.receiver = None
        super()._exit(record, how, now, ran=ran)


class _FinishedAfterAck(ServedRequests[Request]):
    def _settle(self, record: Request, how: Exit) -> None:
        super()._settle(record, how)
        if how is Exit.DONE and record.named:
            self._finished._forget(record.key)


class _OldTokenSettled(ServedRequests[Request]):
    def _settle(self, record: Request, how: Exit) -> None:
        for token in record.tokens:
            if how.acks:
                self._ports.ack(token)


class _GateKeptForGood(Tries[Request]):
    def tick(self, now: float) -> None:
        for attempt in self._attempts.values():
            if attempt.state is TryState.LEAVING:
                attempt.due = now + 1e9
        super().tick(now)

    def leave(self, suspect: Request, now: float) -> None:
        attempt = self._attempts.get(suspect)
        if attempt is None or attempt.state is not TryState.LEAVING:
            super().leave(suspect, now)


class _LostRecordLeftInGate(Tries[Request]):
    def leave(self, suspect: Request, now: float) -> None:
        attempt = self._attempts.get(suspect)
        if attempt is not None and attempt.state is not TryState.READY:
            super().leave(suspect, now)


def shop_with(machine: type[ServedRequests[Request]] = ServedRequests, tries: Any = Tries) -> Callable[[], Shop]:
    return lambda: Shop(slots=SLOTS, limit=LIMIT, count=REMEMBERED, size=5000, machine=machine, tries=tries)


def find(new_shop: Callable[[], Shop], examples: int, steps: int = 40) -> None:
    class Run(Model):
        pass

    Run.new_shop = staticmethod(new_shop)
    run_state_machine_as_test(
        Run,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_any_order_of_events_keeps_the_promises() -> None:
    find(shop_with(), 60)


@pytest.mark.parametrize(
    "machine",
    [
        _AckBeforeConfirm,
        _ExitsTwice,
        _SlotKeptInParked,
        _LostNotReturnedToReceiver,
        _FinishedAfterAck,
        _OldTokenSettled,
    ],
)
def test_a_planted_bug_of_requests_is_found(machine: type[ServedRequests[Request]]) -> None:
    with pytest.raises((AssertionError, KeyError)):
        find(shop_with(machine), 500)


@pytest.mark.parametrize("tries", [_GateKeptForGood, _LostRecordLeftInGate])
def test_a_planted_bug_of_tries_is_found(tries: type[Tries[Request]]) -> None:
    with pytest.raises((AssertionError, KeyError)):
        find(shop_with(tries=tries), 500)
