"""How long the functions of a server ran."""

from __future__ import annotations

from collections.abc import Callable

from amphora.durations import Durations, Histogram

__all__ = ["RunTimes"]


class RunTimes:
    """Counts the run times of each function.

    Args:
        counts: Tells whether the run times of a function of this name are of interest. What anybody may make up is
            not, nor are questions about the server itself.
    """

    def __init__(self, counts: Callable[[str], bool]) -> None:
        self._is_counted = counts
        self._by_function: dict[str, Durations] = {}

    def add(self, function: str, duration: float) -> None:
        """Count one run, in seconds."""
        durations = self._by_function.get(function)
        if durations is None:
            if not self._is_counted(function):
                return
            durations = self._by_function[function] = Durations()
        durations.add(duration)

    def so_far(self) -> dict[str, Histogram]:
        """Give what was counted up to now, by the function's name; without functions that never ran."""
        return {function: durations.so_far() for function, durations in self._by_function.items()}
