"""What the processes of a chaos run note about requests, one line each, so that a kill loses nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import NamedTuple


class Note(NamedTuple):
    """One line: what happened to which request, when (`time.monotonic`, one clock for all processes), and details."""

    what: str
    request: str
    at: float
    details: str


class Notes:
    """Appends notes to a file.

    A note is one `write` of a whole line: it is with the operating system when the method returns, and
    outlives its process, whatever happens to that.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def add(self, what: str, request: str, details: object = "") -> None:
        """Note something about a request."""
        text = str(details).replace("\n", " ")
        os.write(self._file, f"{what} {request} {monotonic():.6f} {text}\n".encode())


def read_notes(path: Path) -> Iterator[Note]:
    """Read the notes of one process, in their order."""
    if not path.exists():
        # It was killed before it had anything to note.
        return
    with path.open() as lines:
        for line in lines:
            what, request, at, details = line.rstrip("\n").split(" ", 3)
            yield Note(what, request, float(at), details)
