"""The measurements of all rounds as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from processes import Measurement

#: The peer that the others are compared with, within each round.
BASELINE = "pyamqp"


@dataclass(frozen=True)
class Run:
    """One client's run: which round, which peer, which workload, and what came out.

    Attributes:
        measurement: None if the run failed.
        reason: why it failed.
    """

    round: int
    peer: str
    workload: str
    measurement: Measurement | None
    reason: str = ""


Value = Callable[[Measurement], float]


@dataclass(frozen=True)
class Spread:
    """Some figures of the same thing: their median, least and most."""

    values: tuple[float, ...]

    def __format__(self, digits: str) -> str:
        if not self.values:
            return "failed"
        middle, least, most = (f"{value:{digits}}" for value in (self.median, min(self.values), max(self.values)))
        return middle if len(self.values) == 1 else f"{middle} ({least} to {most})"

    @property
    def median(self) -> float:
        return median(self.values)


class Results:
    """The runs of all rounds, and what can be read from them."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self._runs = {(run.round, run.peer, run.workload): run.measurement for run in runs}
        self._rounds = sorted({run.round for run in runs})
        self.peers = list(dict.fromkeys(run.peer for run in runs))
        self.workloads = list(dict.fromkeys(run.workload for run in runs))

    def values(self, peer: str, workload: str, value: Value) -> Spread:
        """The value in every round in which the peer did not fail."""
        found = (self._runs.get((number, peer, workload)) for number in self._rounds)
        return Spread(tuple(value(measurement) for measurement in found if measurement is not None))

    def ratios(self, peer: str, other: str, workload: str, value: Value) -> Spread:
        """The peer's value by the other's, each within one round."""
        ratios = []
        for number in self._rounds:
            one = self._runs.get((number, peer, workload))
            two = self._runs.get((number, other, workload))
            if one is not None and two is not None:
                ratios.append(value(one) / value(two))
        return Spread(tuple(ratios))

    def about(self, peer: str) -> Measurement | None:
        """Any measurement of the peer, for what is the same in all of them."""
        return next((found for (_, name, _), found in self._runs.items() if name == peer and found), None)


def per_second(measurement: Measurement) -> float:
    return measurement.per_second


def p50(measurement: Measurement) -> float:
    return measurement.p50_ms


def p99(measurement: Measurement) -> float:
    return measurement.p99_ms


def cpu_per_1000(process: str) -> Value:
    """CPU seconds of `client`, `server` or `broker` for 1,000 calls."""

    def value(measurement: Measurement) -> float:
        return measurement.usage[process]["cpu"] / measurement.count * 1000

    return value


def render(results: Results, *, large_size: int) -> str:
    """All tables."""
    parts = [_speed(results, large_size), _cpu(results), peers_section(results)]
    return "\n\n".join(parts)


def _speed(results: Results, large_size: int) -> str:
    rows = []
    for peer in results.peers:

        def rate(workload: str, peer: str = peer) -> list[str]:
            against = results.ratios(peer, BASELINE, workload, per_second)
            return [f"{results.values(peer, workload, per_second):.0f}", f"{against:.2f}" if against.values else "-"]

        rows.append(
            [
                peer,
                f"{results.values(peer, 'sequential', p50):.2f}",
                f"{results.values(peer, 'sequential', p99):.2f}",
                *rate("in flight"),
                *rate("sends"),
                *rate("large"),
                f"{results.values(peer, 'large', lambda each: each.per_second * large_size / 1e6):.0f}",
            ]
        )
    header = ["peer", "sequential p50 ms", "p99 ms", "100 in flight, calls/s", f"x {BASELINE}"]
    header += ["confirmed sends/s", f"x {BASELINE}"]
    header += [f"{large_size // 1000} kB calls/s", f"x {BASELINE}", "MB/s each way"]
    return f"## Speed\n\n{table(header, rows, numbers=True)}"


def _cpu(results: Results) -> str:
    rows = []
    for peer in results.peers:
        row = [peer]
        for workload in ("sequential", "in flight"):
            for process in ("client", "server", "broker"):
                row.append(f"{results.values(peer, workload, cpu_per_1000(process)):.3f}")
        rows.append(row)
    header = ["peer"]
    header += [f"sequential: {process}" for process in ("client", "server", "broker")]
    header += [f"in flight: {process}" for process in ("client", "server", "broker")]
    return f"## CPU seconds per 1,000 calls\n\n{table(header, rows, numbers=True)}"


def peers_section(results: Results) -> str:
    """Give versions and guarantees of each peer."""
    rows = []
    for peer in results.peers:
        about = results.about(peer)
        if about is not None:
            versions = ", ".join(f"{name} {version}" for name, version in about.versions.items())
            rows.append([peer, versions, about.guarantees])
    return f"## Peers\n\n{table(['peer', 'versions', 'guarantees while measured'], rows)}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: bool = False) -> str:
    """Rows as a Markdown table; all columns but the first are aligned right if they are numbers."""
    lines = [header, ["---"] + ["---:" if numbers else "---"] * (len(header) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
