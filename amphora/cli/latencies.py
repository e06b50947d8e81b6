"""Durations of calls: percentiles, and a histogram for a terminal."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

__all__ = ["Bucket", "histogram", "milliseconds", "percentile", "roughly"]

#: Bounds of buckets within a decade, evenly spread over its logarithm.
_STEPS = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)


@dataclass(frozen=True)
class Bucket:
    """A bar of a histogram.

    Args:
        low: Seconds from which on it counts.
        high: Seconds below which it counts.
        count: How many durations.
    """

    low: float
    high: float
    count: int


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return the duration that so many percent do not exceed (nearest rank).

    Args:
        ordered: Durations, the least first; at least one.
        percent: More than 0, 100 at most.
    """
    rank = math.ceil(percent / 100 * len(ordered))
    return ordered[min(len(ordered), max(1, rank)) - 1]


def histogram(ordered: Sequence[float]) -> list[Bucket]:
    """Return buckets from the least to the most, without gaps; none of an empty sequence.

    Args:
        ordered: Durations, the least first.
    """
    if not ordered:
        return []
    bounds: list[float] = []
    for bound in _bounds(max(ordered[0], 1e-6)):
        bounds.append(bound)
        if bound > ordered[-1] and len(bounds) > 1:
            break
    buckets = [Bucket(low, high, 0) for low, high in itertools.pairwise(bounds)]
    counts = [0] * len(buckets)
    at = 0
    for duration in ordered:
        while at < len(buckets) - 1 and duration >= buckets[at].high:
            at += 1
        counts[at] += 1
    return [Bucket(each.low, each.high, number) for each, number in zip(buckets, counts, strict=True)]


def milliseconds(duration: float) -> str:
    """Write a duration in milliseconds, with three digits that mean something."""
    value = duration * 1000
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{digits}f}"


def roughly(duration: float | None) -> str:
    """Write a duration that is known to two digits in milliseconds, or a dash where it is not known at all."""
    if duration is None:
        return "-"
    value = duration * 1000
    digits = 1 - math.floor(math.log10(value)) if value > 0 else 0
    return f"{value:.{min(3, max(0, digits))}f}"


def _bounds(least: float) -> Iterator[float]:
    """Yield bounds, the first of them not above the least duration."""
    decade = math.floor(math.log10(least))
    below = [step for step in _STEPS if step * 10.0**decade <= least] or [1.0]
    start = _STEPS.index(below[-1])
    while True:
        for step in _STEPS[start:]:
            yield step * 10.0**decade
        start = 0
        decade += 1
