"""Judges the fates of a chaos run's requests: what was lost, hung or never run, and why something ran twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

from chaos.fates import Fate, Run
from chaos.faults import Event
from chaos.stage import SERVICE, Incarnation

#: Seconds that the effect of a harm may outlast it: until it is noticed and everything is connected again.
AFTERMATH = 20.0
#: Harms that should not make anything run twice.
GENTLE = ("memory alarm", "warm restart")


@dataclass
class Verdict:
    """What the fates come to.

    Attributes:
        calls: All calls but those of processes that were killed before their outcome.
        outcomes: How many of them ended how.
        orphans: Calls of killed processes, which have no outcome by right.
        lost: No answer, though nothing took the request or its reply away: or a wrong one.
        hung: No outcome at all, or more than one.
        unrun: Confirmed, but never run to the end, though nobody deleted the queue.
        deleted: Requests, or replies to them, that went with a queue that was deleted.
        twice: Requests that were begun more than once, by reason.
        same_process: Those of them that one process began twice.
        longest_call: Seconds.
        longest_stall: The most seconds without an outcome in any client, while there was load.
    """

    calls: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    orphans: int = 0
    lost: list[Fate] = field(default_factory=list)
    hung: list[Fate] = field(default_factory=list)
    unrun: list[Fate] = field(default_factory=list)
    deleted: Counter[str] = field(default_factory=Counter)
    twice: Counter[str] = field(default_factory=Counter)
    same_process: list[Fate] = field(default_factory=list)
    longest_call: float = 0.0
    longest_stall: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether nothing was lost."""
        return not (self.lost or self.hung or self.unrun or self.same_process)


class Judge:
    """Knows what was done when, and to whom.

    Args:
        events: All harms.
        processes: All processes that there were.
    """

    def __init__(self, events: Iterable[Event], processes: Iterable[Incarnation]) -> None:
        self._events = sorted(events, key=lambda event: event.began)
        self._processes = {process.name: process for process in processes}

    def judge(self, fates: Iterable[Fate]) -> Verdict:
        """Judge all fates."""
        fates = list(fates)
        load_ends = max((fate.sent for fate in fates), default=0.0)
        verdict = Verdict()
        moments = []
        for fate in fates:
            self._judge_runs(fate, verdict)
            if not fate.outcomes and self._processes[fate.client].killed:
                verdict.orphans += 1
                continue
            verdict.calls += 1
            verdict.outcomes[fate.outcome] += 1
            if len(fate.outcomes) != 1:
                verdict.hung.append(fate)
                continue
            moments.append(min(fate.decided, load_ends))
            verdict.longest_call = max(verdict.longest_call, fate.decided - fate.sent)
            if not fate.answered:
                self._judge_failure(fate, verdict)
        moments.sort()
        verdict.longest_stall = max((b - a for a, b in pairwise(moments)), default=0.0)
        return verdict

    def _judge_runs(self, fate: Fate, verdict: Verdict) -> None:
        if fate.confirmed is not None and not fate.finished:
            if self._was_deleted(_request_queue(fate), fate):
                verdict.deleted["request"] += 1
            else:
                verdict.unrun.append(fate)
        if len(fate.runs) > 1:
            verdict.twice[self.why_twice(fate)] += 1
            if len({run.process for run in fate.runs}) < len(fate.runs):
                verdict.same_process.append(fate)

    def _judge_failure(self, fate: Fate, verdict: Verdict) -> None:
        """Judge a call that ended with an error that is not the function's."""
        if fate.outcome == "NoResult" and fate.finished and self._was_deleted(_response_queue(fate), fate):
            verdict.deleted["reply"] += 1
        elif fate.outcome == "NoResult" and not fate.finished and self._was_deleted(_request_queue(fate), fate):
            # Counted with the runs, if it was confirmed.
            verdict.deleted["request"] += fate.confirmed is None
        elif fate.outcome == "NoResult" and fate.finished and self._was_deleted_unanswered(fate):
            verdict.deleted["unanswered request"] += 1
        elif fate.outcome == "Unroutable" and fate.label and self._was_deleted(_request_queue(fate), fate, AFTERMATH):
            # The caller knows at once, and nothing has run.
            return
        else:
            verdict.lost.append(fate)

    def _was_deleted(self, queue: str, fate: Fate, before: float = 0.0) -> bool:
        """Tell whether a queue was deleted during a call, or up to so many seconds before it."""
        return any(event.ended >= fate.sent - before for event in self._deletions(queue, until=fate.decided))

    def _deletions(self, queue: str, until: float) -> list[Event]:
        return [
            event
            for event in self._events
            if event.what == "queue deleted" and event.target == queue and event.began <= until
        ]

    def _was_deleted_unanswered(self, fate: Fate) -> bool:
        """Tell whether a request that had run was deleted before its reply was confirmed.

        Each process that ran it was killed, with the reply in its outbox, and its queue was deleted: nothing of it was
        left. A process that was not killed would have sent the reply again.
        """
        servers = [self._processes[run.process] for run in fate.runs]
        killed = all(each.killed and each.ended is not None and each.ended <= fate.decided for each in servers)
        return killed and any(
            event.ended >= fate.runs[0].began for event in self._deletions(_request_queue(fate), until=fate.decided)
        )

    def why_twice(self, fate: Fate) -> str:
        """Give the reason why a request was begun a second time."""
        first, second = fate.runs[:2]
        if second.redelivered:
            return f"server: {self._why_redelivered(first, second)}"
        since = fate.sent
        harm = self._last_harm(fate.client.partition(".")[0], since, second.began)
        return f"client sent it again: {harm or 'unexplained'}"

    def _why_redelivered(self, first: Run, second: Run) -> str:
        server = self._processes[first.process]
        if server.killed and server.ended is not None and server.ended <= second.began and first.ended is None:
            return "killed while it ran"
        harm = self._last_harm(first.process.partition(".")[0], first.began, second.began)
        return harm or "unexplained"

    def _last_harm(self, member: str, since: float, until: float) -> str | None:
        harms = [
            event.what
            for event in self._events
            if event.target in (member, "broker") and event.began <= until and event.ended >= since - AFTERMATH
        ]
        # What is gentle is the reason only where nothing else can be.
        return next((what for what in reversed(harms) if what not in GENTLE), harms[-1] if harms else None)


def _request_queue(fate: Fate) -> str:
    return f"rpc_{SERVICE}_queue_{fate.label}" if fate.label else f"rpc_{SERVICE}_request"


def _response_queue(fate: Fate) -> str:
    return f"rpc_{SERVICE}_{fate.client.partition('.')[0]}_response"
