"""`Histogram`: how long something took, in buckets that are the same everywhere."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

__all__ = ["BOUNDS", "Durations", "Histogram"]

#: Bounds within a decade, evenly spread over the logarithm: the preferred numbers R10 of ISO 3, with two digits.
_STEPS = (1, 1.25, 1.6, 2, 2.5, 3.2, 4, 5, 6.3, 8)

#: Upper bounds of the buckets in seconds, from a microsecond to 100 seconds.
BOUNDS: tuple[float, ...] = (*(float(f"{step}e{decade}") for decade in range(-6, 2) for step in _STEPS), 100.0)

#: How many durations are counted together: more take more memory, for every function, and hardly less time.
_TOGETHER = 128


@dataclass(frozen=True, slots=True, repr=False)
class Histogram:
    """How many durations fell into which bucket, at one moment.

    Two of them can be added up (several servers), and an earlier one be subtracted from a later one (what came
    between). A percentile is exact to its bucket, and the upper bound of a bucket is a quarter more than its lower one.

    Attributes:
        bounds (tuple[float, ...]): Upper bounds of the buckets in seconds, each within its bucket; the same for all.
        counts (tuple[int, ...]): How many durations each bucket has, and last, how many were longer than all bounds.
        total (float): Sum of the durations in seconds.
    """

    bounds: ClassVar[tuple[float, ...]] = BOUNDS

    counts: tuple[int, ...] = (0,) * (len(BOUNDS) + 1)
    total: float = 0.0

    def __repr__(self) -> str:
        p50, p99 = self.percentile(50), self.percentile(99)
        if p50 is None or p99 is None:
            return "<Histogram of nothing>"
        return f"<Histogram of {self.count}: p50 {p50:.2g} s, p99 {p99:.2g} s, {self.total:.3g} s in all>"

    @property
    def count(self) -> int:
        """How many durations there are."""
        return sum(self.counts)

    def percentile(self, percent: float) -> float | None:
        """Return the seconds that so many percent did not exceed, as if they were evenly spread within a bucket.

        Args:
            percent: From 0 to 100.

        Returns:
            Seconds, 100 for what took longer than that; None where there are no durations.

        Raises:
            ValueError: There is no such percentile.
        """
        if not 0 <= percent <= 100:
            raise ValueError(f"a percentile is from 0 to 100, not {percent!r}")
        rank = self.count * percent / 100
        low, before = 0.0, 0
        for bound, number in zip(self.bounds, self.counts, strict=False):
            if number and before + number >= rank:
                return low + (bound - low) * (rank - before) / number
            low, before = bound, before + number
        return self.bounds[-1] if self.counts[-1] else None

    def up_to(self, bound: float) -> int:
        """Return how many durations were not longer than one of the bounds.

        Args:
            bound: Seconds, one of ``bounds``.

        Raises:
            ValueError: It is another number: how many there are is not known.
        """
        if bound not in self.bounds:
            raise ValueError(f"how many durations were up to {bound!r} s is not known: it is none of the bounds")
        return sum(self.counts[: self.bounds.index(bound) + 1])

    def __add__(self, other: Histogram) -> Histogram:
        if not isinstance(other, Histogram):
            return NotImplemented
        counts = tuple(mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True))
        return Histogram(counts, self.total + other.total)

    def __sub__(self, earlier: Histogram) -> Histogram:
        if not isinstance(earlier, Histogram):
            return NotImplemented
        # Never less than none, also where the other one turns out to be of something else.
        counts = tuple(max(0, now - then) for now, then in zip(self.counts, earlier.counts, strict=True))
        return Histogram(counts, max(0.0, self.total - earlier.total))

    def encode(self) -> dict[str, Any]:
        """Give it in a form that every serializer can encode: the sum, and the buckets that hold anything."""
        bounds = (*self.bounds, None)
        buckets = [[bound, number] for bound, number in zip(bounds, self.counts, strict=True) if number]
        return {"total": self.total, "buckets": buckets}

    @classmethod
    def decode(cls, value: Mapping[str, Any]) -> Histogram:
        """Read what `encode` gives, of this version or of one with other bounds.

        Raises:
            KeyError, TypeError, ValueError: It is something else.
        """
        counts = [0] * (len(cls.bounds) + 1)
        for bound, number in value["buckets"]:
            counts[-1 if bound is None else bisect_left(cls.bounds, float(bound))] += int(number)
        return cls(tuple(counts), float(value["total"]))


class Durations:
    """Counts durations as they come: of every message, so it must cost next to nothing.

    They are kept for a moment and counted together: once they are in order, each bucket is found once, and not once for
    each of them. That takes a third of the time.
    """

    __slots__ = ("_counts", "_recent", "_total")

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS) + 1)
        self._recent: list[float] = []
        self._total = 0.0

    def add(self, duration: float) -> None:
        """Count one, in seconds."""
        recent = self._recent
        recent.append(duration)
        if len(recent) >= _TOGETHER:
            self._count_recent()

    def so_far(self) -> Histogram:
        """Give what was counted up to now."""
        self._count_recent()
        return Histogram(tuple(self._counts), self._total)

    def _count_recent(self) -> None:
        ordered = sorted(self._recent)
        self._recent.clear()
        self._total += sum(ordered)
        counted = 0
        while counted < len(ordered):
            place = bisect_left(BOUNDS, ordered[counted])
            upto = bisect_right(ordered, BOUNDS[place], counted) if place < len(BOUNDS) else len(ordered)
            self._counts[place] += upto - counted
            counted = upto
