"""The function that the servers in the tests' own process run."""

from collections import Counter

import gevent


class Work:
    """Returns its number after a moment, and counts its runs by number."""

    __name__ = "work"

    def __init__(self, seconds: float = 0.005) -> None:
        self.runs: Counter[int] = Counter()
        self._seconds = seconds

    def __call__(self, number: int) -> int:
        self.runs[number] += 1
        gevent.sleep(self._seconds)
        return number
