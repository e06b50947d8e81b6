"""What `noting_server` processes have noted about the runs of their functions."""

from collections import Counter
from pathlib import Path


class Runs:
    """Reads the notes of all servers that share a file.

    Args:
        path: The file; it need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def begun(self, number: int) -> list[int]:
        """Return the process ids of the servers that began to run a request, in that order."""
        return [pid for what, each, pid in self._notes() if what == "begin" and each == number]

    @property
    def begins(self) -> Counter[int]:
        """How often each request was begun."""
        return Counter(number for what, number, _ in self._notes() if what == "begin")

    @property
    def ends(self) -> Counter[int]:
        """How often each request was run to its end."""
        return Counter(number for what, number, _ in self._notes() if what == "end")

    def _notes(self) -> list[tuple[str, int, int]]:
        if not self.path.exists():
            return []
        lines = [line.split() for line in self.path.read_text().splitlines()]
        return [(what, int(number), int(pid)) for what, number, pid in lines]
