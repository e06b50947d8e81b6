"""A broker, a pool and the clients for `ServedRequests`, which keep accounts of their own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from math import inf
from typing import Any

from amphora.core.finished import FinishedRequests, Reply
from amphora.core.requests import Exit, Options, Record, ServedRequests
from amphora.core.tries import Ports as TriesPorts
from amphora.core.tries import Tries

__all__ = ["REPLY", "Request", "Shop", "Token"]

REPLY = Reply("text/plain", b"done")


class Token:
    """One delivery.

    Attributes:
        epoch: Number of the channel that it came on.
        settled: What became of it: `ack`, `give back` or `drop`; empty if nothing has.
    """

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.settled = ""


class Request(Record):
    """A record with what the test knows of it.

    Attributes:
        deadline: When it expires.
    """

    __slots__ = ("deadline", "exits")

    def __init__(self, token: Token, **given: Any) -> None:
        super().__init__(
            token, **{"key": "k", "client": "c", "named": True, "redelivered": False, "receiver": None, **given}
        )
        self.deadline = inf
        self.exits: list[Exit] = []


class Shop:
    """Drives a machine, and checks it inside of each port.

    Attributes:
        started: What the pool was given and has not begun.
        running: What runs.
        sent: Replies that the broker has to decide about.
        looking: Clients whose queues are looked for.
        letters: Dead letters that the broker has to decide about.
        asked: Suspects whose count is asked for.
        counting: Suspects whose count is under way.
        begins: How often each key was begun.
        finished: When each key was finished, the latest last.
        can: Whether the broker can be asked.
    """

    def __init__(
        self, *, slots: int = 2, limit: int | None = None, letters: bool = True, drop_ignored: bool = False,
        count: int = 1000, size: int = 10_000, machine: type[ServedRequests[Request]] = ServedRequests,
        tries: Callable[[int, TriesPorts[Request]], Tries[Request]] = Tries,
    ) -> None:  # fmt: skip
        self.now = 0.0
        self.epoch = 1
        self.can = True
        self.checks = True
        self.started: list[Request] = []
        self.running: list[Request] = []
        self.sent: list[Request] = []
        self.looking: list[Request] = []
        self.letters: list[Request] = []
        self.asked: list[Request] = []
        self.counting: list[Request] = []
        self.dropped_replies: list[Request] = []
        self.exits: Counter[Exit] = Counter()
        self.begins: Counter[Any] = Counter()
        self.finished: dict[Any, float] = {}
        self.alarm_at = inf
        self.machine = machine(
            Options(slots=slots, ignore_delay=1.0, drop_ignored=drop_ignored, letters=letters),
            self,
            FinishedRequests(count=count, size=size, age=1000.0),
        )
        if limit is not None:
            self.machine.tries = tries(limit, _TriesPorts(self, self.machine))

    # -- ports ------------------------------------------------------------------------------

    def current(self, token: Token) -> bool:
        return token.epoch == self.epoch

    def expired(self, record: Request) -> bool:
        return record.deadline <= self.now

    def start(self, record: Request) -> None:
        self.started.append(record)

    def send(self, record: Request) -> None:
        assert record.reply is not None
        self.sent.append(record)
        self.check()

    def restore_route(self, record: Request) -> None:
        self.looking.append(record)
        self.check()

    def abandoned(self, record: Request, why: str) -> None:
        assert why
        self.dropped_replies.append(record)

    def bury(self, record: Request) -> None:
        self.letters.append(record)
        self.check()

    def ack(self, token: Token) -> None:
        self._settle(token, "ack")

    def give_back(self, token: Token) -> None:
        self._settle(token, "give back")

    def drop(self, token: Token) -> None:
        self._settle(token, "drop")

    def left(self, record: Request, how: Exit) -> None:
        record.exits.append(how)
        self.exits[how] += 1
        if record.named and not record.apart and how in (Exit.DONE, Exit.ABANDONED):
            self.finished.pop(record.key, None)
            self.finished[record.key] = self.now

    def alarm(self, at: float) -> None:
        self.alarm_at = at

    def _settle(self, token: Token, how: str) -> None:
        assert token.epoch == self.epoch, "a delivery of a former channel is settled"
        assert not token.settled, "a delivery is settled twice"
        token.settled = how

    # -- what the driver does ---------------------------------------------------------------

    def deliver(self, token: Token | None = None, *, deadline: float = inf, **given: Any) -> Request:
        """Deliver a request."""
        request = Request(token or Token(self.epoch), **given)
        request.deadline = deadline
        if not self.machine.recall(request, self.now):
            self.machine.take(request, self.now)
        return request

    def begin(self, request: Request) -> bool:
        """Let the worker begin with what it was given."""
        self.started.remove(request)
        begun = self.machine.begin(request, self.now)
        if begun:
            self.running.append(request)
            self.begins[request.key] += 1
        return begun

    def run(self, request: Request) -> Request:
        """Let the function return."""
        assert self.begin(request)
        return self.finish(request)

    def finish(self, request: Request, reply: Reply = REPLY) -> Request:
        self.running.remove(request)
        self.machine.finished(request, reply, self.now)
        self.machine.ended(request, self.now)
        return request

    def confirm(self, request: Request) -> Request:
        """Let the broker confirm the reply."""
        self.sent.remove(request)
        self.machine.replied(request, self.now)
        return request

    def unroutable(self, request: Request) -> Request:
        self.sent.remove(request)
        self.machine.unroutable(request, self.now)
        return request

    def nack(self, request: Request) -> Request:
        self.sent.remove(request)
        self.machine.nacked(request, self.now)
        return request

    def look(self, client: str, *, found: bool) -> None:
        """Let the broker tell whether a client's queue is there."""
        self.looking = [each for each in self.looking if each.client != client]
        self.machine.routed(client, found, self.now)

    def advance(self, seconds: float) -> None:
        """Let time go by, with ticks in time."""
        end = self.now + seconds
        while self.machine.next_deadline <= end:
            assert self.alarm_at <= self.machine.next_deadline, "no alarm is set for what is due"
            self.now = max(self.now, self.machine.next_deadline)
            self.alarm_at = inf
            self.machine.tick(self.now)
            self.machine.check()
        self.now = end

    def lose_channel(self) -> None:
        self.epoch += 1

    def check(self) -> None:
        if self.checks:
            self.machine.check()


class _TriesPorts:
    def __init__(self, shop: Shop, machine: ServedRequests[Request]) -> None:
        self._shop = shop
        self.wanted = machine.wanted
        self.has_slot = machine.has_slot
        self.proceed = machine.proceed
        self.give_up = machine.give_up
        self.hold = machine.hold

    def ask(self, suspect: Request) -> None:
        self._shop.asked.append(suspect)

    def count(self, suspect: Request) -> None:
        self._shop.counting.append(suspect)

    def can_publish(self) -> bool:
        return self._shop.can
