"""Ratios that were wanted when the library was designed, and whether they are met."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from report import Results, Spread, Value, cpu_per_1000, p50, per_second, table


@dataclass(frozen=True)
class Wanted:
    """A ratio of Amphora to another peer that should be at least, or at most, so much."""

    name: str
    other: str
    workload: str
    value: Value
    at_least: float | None = None
    at_most: float | None = None

    def row(self, results: Results) -> list[str]:
        ratios = results.ratios("amphora", self.other, self.workload, self.value)
        wanted = f"≥ {self.at_least:g}" if self.at_most is None else f"≤ {self.at_most:g}"
        return [self.name, wanted, f"{ratios:.2f}", "met" if self._is_met(ratios) else "**not met**"]

    def _is_met(self, ratios: Spread) -> bool:
        if not ratios.values:
            return False
        if self.at_least is not None and ratios.median < self.at_least:
            return False
        return self.at_most is None or ratios.median <= self.at_most


#: Of `run.py`: with the peers that take no installing.
OF_THE_CORE = (
    Wanted("in flight, amphora / celery, calls/s", "celery", "in flight", per_second, at_least=10.0),
    Wanted("in flight, amphora / pyamqp, calls/s", "pyamqp", "in flight", per_second, at_least=1.5),
    Wanted("sequential, amphora / pyamqp, p50", "pyamqp", "sequential", p50, at_most=1.2),
)

#: Of `compare.py`: with all of them.
OF_THE_HOT_PATH = (
    Wanted("100 in flight, amphora / C, calls/s", "librabbitmq", "in flight", per_second, at_least=0.5),
    Wanted("100 in flight, amphora / celery, calls/s", "celery", "in flight", per_second, at_least=25.0),
    Wanted("100 in flight, amphora / pika, calls/s", "pika", "in flight", per_second, at_least=2.0),
    Wanted("sequential, amphora / C, p50", "librabbitmq", "sequential", p50, at_most=1.5),
    Wanted("confirmed sends, amphora / C", "librabbitmq", "sends", per_second, at_least=0.8),
    Wanted("100 kB, amphora / pyamqp, calls/s", "pyamqp", "large", per_second, at_least=1.3),
    Wanted(
        "100 in flight, amphora / pyamqp, CPU of the client",
        "pyamqp",
        "in flight",
        cpu_per_1000("client"),
        at_most=1 / 3,
    ),
)


def wanted_section(results: Results, wanted: Sequence[Wanted]) -> str:
    """The ratios whose peers were measured."""
    rows = [each.row(results) for each in wanted if {"amphora", each.other} <= set(results.peers)]
    if not rows:
        return "No wanted ratios: they need amphora and one more peer."
    return f"## Wanted\n\n{table(['ratio', 'wanted', 'measured', ''], rows)}"
