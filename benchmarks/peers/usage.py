"""What processes use: CPU time, memory and context switches between two moments."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import psutil


@dataclass(frozen=True)
class Usage:
    """What one process and its children used between two moments.

    Attributes:
        cpu: CPU time of user and system, in seconds (counted by the kernel in ticks of 10 ms).
        switches: context switches, which for an idle process are its wake-ups.
        rss_before: resident memory at the first moment, in bytes.
        rss_after: the same at the second one.
    """

    cpu: float
    switches: int
    rss_before: int
    rss_after: int


class UsageMeter:
    """Reads what this process (`client`) and the watched ones use, from its construction to `stop()`."""

    def __init__(self, watched: Mapping[str, int]) -> None:
        self._pids = {"client": os.getpid(), **watched}
        self._before = {name: _read(pid) for name, pid in self._pids.items()}
        self._started = time.perf_counter()

    def stop(self) -> tuple[float, dict[str, dict[str, float]]]:
        """Return the seconds that passed, and the `Usage` of each process as a dictionary."""
        seconds = time.perf_counter() - self._started
        after = {name: _read(pid) for name, pid in self._pids.items()}
        return seconds, {name: asdict(_between(self._before[name], after[name])) for name in after}


@dataclass(frozen=True)
class _Reading:
    cpu: float
    switches: int
    rss: int


def _read(pid: int) -> _Reading:
    root = psutil.Process(pid)
    cpu, switches, rss = 0.0, 0, 0
    for process in [root, *root.children(recursive=True)]:
        times, switched = process.cpu_times(), process.num_ctx_switches()
        cpu += times.user + times.system
        switches += switched.voluntary + switched.involuntary
        rss += process.memory_info().rss
    return _Reading(cpu, switches, rss)


def _between(before: _Reading, after: _Reading) -> Usage:
    return Usage(after.cpu - before.cpu, after.switches - before.switches, before.rss, after.rss)
