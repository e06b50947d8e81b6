"""What `calling_client` processes have noted about the fates of their calls."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path


class Fates:
    """The calls of all clients together.

    Args:
        paths: The files of the clients.

    Attributes:
        confirmed: Numbers of the requests that the broker has confirmed.
        results: What calls returned, by number.
        errors: What calls raised, as text, by number.
        outcomes: How many outcomes each call had.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        self.confirmed: set[int] = set()
        self.results: dict[int, int] = {}
        self.errors: dict[int, str] = {}
        self.outcomes: Counter[int] = Counter()
        for path in paths:
            for line in path.read_text().splitlines():
                what, number, *rest = line.split(" ", 2)
                self._note(what, int(number), " ".join(rest))

    def _note(self, what: str, number: int, rest: str) -> None:
        if what == "confirmed":
            self.confirmed.add(number)
            return
        self.outcomes[number] += 1
        if what == "result":
            self.results[number] = int(rest)
        else:
            self.errors[number] = rest
