"""What `amphora top` knows of a server: its answers, and what happened between the last two."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from amphora import Histogram, ServerInfo

__all__ = ["ObservedServer", "Runs", "runs_by_function"]

#: Round trips that are remembered of each server.
_REMEMBERED = 100


@dataclass(frozen=True)
class Runs:
    """Runs of functions that ended between two answers.

    Args:
        times: How long they took.
        per_second: How many a second.
    """

    times: Histogram
    per_second: float

    def __add__(self, other: Runs) -> Runs:
        return Runs(self.times + other.times, self.per_second + other.per_second)


@dataclass
class ObservedServer:
    """What is known of one server.

    Args:
        info: Its last answer.
        stats: What it counted when it was asked last.
        at: When that was (`time.monotonic`).
        calls: Calls per second between the last two answers.
        errors: Errors per second, likewise.
        functions: Runs between the last two answers by function, of those that have ever run; None where the server
            does not tell (an older Amphora), or has not told twice.
        round_trips: Seconds, the last ones.
        missed: How many rounds it has not answered.
    """

    info: ServerInfo
    stats: Mapping[str, int] = field(default_factory=dict)
    at: float = 0.0
    calls: float = 0.0
    errors: float = 0.0
    functions: Mapping[str, Runs] | None = None
    round_trips: deque[float] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    missed: int = 0
    _told: Mapping[str, Histogram] | None = None

    @property
    def runs(self) -> Runs | None:
        """Runs of all functions between the last two answers; None where that is not known."""
        return None if self.functions is None else sum(self.functions.values(), _NONE)

    def update(self, stats: Mapping[str, int], run_times: Mapping[str, Histogram] | None, now: float) -> None:
        """Take another answer.

        Args:
            stats: What it has counted.
            run_times: How long its functions ran, all since it was started; None where it does not tell.
            now: When that is (`time.monotonic`).
        """
        took = now - self.at
        before, self.functions = self._told, None
        if self.stats and took > 0:
            self.calls = self._counted_since(stats, "requests") / took
            self.errors = self._counted_since(stats, "errors") / took
            if run_times is not None and before is not None:
                between = {name: each - before.get(name, Histogram()) for name, each in run_times.items()}
                self.functions = {name: Runs(each, each.count / took) for name, each in between.items()}
        self.stats, self._told, self.at, self.missed = stats, run_times, now, 0

    def _counted_since(self, stats: Mapping[str, int], name: str) -> int:
        return max(0, stats.get(name, 0) - self.stats.get(name, 0))


def runs_by_function(servers: Iterable[ObservedServer]) -> dict[str, Runs]:
    """Add up what servers tell, by function; the most called function comes first."""
    found: dict[str, Runs] = {}
    for server in servers:
        for name, runs in (server.functions or {}).items():
            found[name] = found.get(name, _NONE) + runs
    return dict(sorted(found.items(), key=lambda item: (-item[1].per_second, item[0])))


_NONE = Runs(Histogram(), 0.0)
