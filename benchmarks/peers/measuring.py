"""Measures one peer's client going through a workload, whatever it is driven by, and prints one line of JSON."""

from __future__ import annotations

import gc
import json
import platform
import time
from array import array
from collections.abc import Callable, Sequence
from importlib import metadata

from workloads import ClientArguments

from peers.usage import UsageMeter


class Turns:
    """Hands out the numbers of calls until there were enough or the time is up, and keeps their latencies.

    Many greenlets or threads may iterate over it at once: each number is handed out once.

    Args:
        count: how many at most.
        seconds: for how long from the first one; None for any time.

    Attributes:
        given: how many were handed out.
    """

    def __init__(self, count: int, seconds: float | None) -> None:
        # Taken beforehand, so that it is not counted as the peer's memory.
        self._latencies = array("d", bytes(8 * count))
        self._numbers = iter(range(count))
        self._seconds = seconds
        self._deadline: float | None = None
        self.given = 0

    def __iter__(self) -> Turns:
        return self

    def __next__(self) -> int:
        if self._seconds is not None:
            if self._deadline is None:
                self._deadline = time.perf_counter() + self._seconds
            elif time.perf_counter() > self._deadline:
                raise StopIteration
        number = next(self._numbers)
        self.given = max(self.given, number + 1)
        return number

    @property
    def limits(self) -> tuple[int, float | None]:
        """The count and the seconds, for a client that counts by itself and reports to `take`."""
        return len(self._latencies), self._seconds

    def note(self, turn: int, seconds: float) -> None:
        self._latencies[turn] = seconds

    def take(self, latencies: array[float]) -> None:
        """Keep the latencies of calls that were counted elsewhere."""
        self._latencies[: len(latencies)] = latencies
        self.given = len(latencies)

    def in_order(self) -> array[float]:
        """The latencies, sorted."""
        return array("d", sorted(self._latencies[: self.given]))


def measure(
    arguments: ClientArguments,
    repeat: Callable[[Turns], None],
    sleep: Callable[[float], object],
) -> dict[str, object]:
    """Warm up, then measure.

    Args:
        arguments: what to do.
        repeat: does the workload's action once for each turn, with as many in flight as the workload says.
        sleep: waits, for `idle`.
    """
    workload = arguments.workload
    repeat(Turns(workload.warm_up, None if workload.seconds is None else workload.seconds / 3))
    turns = Turns(0 if workload.action == "idle" else workload.count, workload.seconds)
    gc.collect()
    meter = UsageMeter(arguments.watched)
    if workload.action == "idle":
        sleep(workload.count)
    else:
        repeat(turns)
    seconds, usage = meter.stop()
    since_start = time.monotonic() - arguments.started
    in_order = turns.in_order()
    return {
        "since_start": since_start,
        "seconds": seconds,
        "count": workload.count if workload.action == "idle" else turns.given,
        "p50_ms": _percentile(in_order, 0.50) * 1000,
        "p99_ms": _percentile(in_order, 0.99) * 1000,
        "usage": usage,
    }


def print_result(
    measured: dict[str, object],
    *,
    packages: Sequence[str] = (),
    versions: dict[str, str] | None = None,
    guarantees: str,
    request_queue: str,
) -> None:
    """Print what was measured, and what the peer says about itself.

    Args:
        measured: what `measure` returned.
        packages: the distributions whose versions belong to the result.
        versions: of what is no Python distribution.
        guarantees: what this peer promises while measured, in a few words, for the report.
        request_queue: where sends leave requests that nobody takes; the benchmark deletes it afterwards.
    """
    found = {name: _version(name) for name in packages} | (versions or {"Python": platform.python_version()})
    about = {"versions": found, "guarantees": guarantees, "request_queue": request_queue}
    print(json.dumps(about | measured), flush=True)


def check(reply: object, payload: str) -> None:
    """Raise if the echo is not what was sent."""
    if reply != payload:
        raise AssertionError(f"another reply than the payload: {str(reply)[:100]!r}")


def _percentile(latencies: Sequence[float], share: float) -> float:
    """The value below which a share of the sorted latencies lies (nearest rank); 0 if there are none."""
    return latencies[min(int(len(latencies) * share), len(latencies) - 1)] if latencies else 0.0


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "from its source tree"
