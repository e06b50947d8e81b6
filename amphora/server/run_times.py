"""How long the functions of a server ran."""

from __future__ import annotations

from collections.abc import Callable

from amphora.durations import Durations, Histogram

__all__ = ["RunTimes"]


class RunTimes(dict[str, Durations]):
    """Counts the run times of each function: ``run_times[function].add(seconds)``.

    Args:
        counts: Tells whether the run times of a function of this name are of interest. What anybody may make up is
            not, nor are questions about the server itself.
    """

    def __init__(self, counts: Callable[[str], bool]) -> None:
        super().__init__()
        self._is_counted = counts

    def __missing__(self, function: str) -> Durations:
        durations = Durations()
        if self._is_counted(function):
            self[function] = durations
        return durations

    def so_far(self) -> dict[str, Histogram]:
        """Give what was counted up to now, by the function's name; without functions that never ran."""
        return {function: durations.so_far() for function, durations in self.items()}
