"""What became of every request of a chaos run, put together from the notes of all processes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from chaos.notes import Note, read_notes
from chaos.stage import Incarnation


@dataclass
class Run:
    """One run of a request's function; `ended` is None where its process did not get so far."""

    process: str
    began: float
    redelivered: bool
    ended: float | None = None


@dataclass
class Fate:
    """One request: times are of `time.monotonic`, and None for what did not happen."""

    request: str
    client: str
    label: str
    sent: float
    confirmed: float | None = None
    outcomes: list[Note] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)

    @property
    def finished(self) -> bool:
        """Whether it ran to its end at least once."""
        return any(run.ended is not None for run in self.runs)

    @property
    def answered(self) -> bool:
        """Whether the caller got what the function returned or raised."""
        return [note.what for note in self.outcomes] in (["result"], ["raised"])

    @property
    def outcome(self) -> str:
        """The outcome as a word: of an error, its type."""
        if not self.outcomes:
            return "none"
        last = self.outcomes[-1]
        return last.details.partition(":")[0] if last.what == "error" else last.what

    @property
    def decided(self) -> float:
        """When the caller got its outcome."""
        return self.outcomes[-1].at if self.outcomes else float("inf")


def read_fates(directory: Path, clients: Iterable[Incarnation], servers: Iterable[Incarnation]) -> list[Fate]:
    """Put the notes of all processes together, by request."""
    fates: dict[str, Fate] = {}
    for client in clients:
        for note in read_notes(directory / f"{client.name}.notes"):
            if note.what == "sent":
                fates[note.request] = Fate(note.request, client.name, note.details, note.at)
            elif note.what == "confirmed":
                fates[note.request].confirmed = note.at
            else:
                fates[note.request].outcomes.append(note)
    for server in servers:
        under_way: dict[str, Run] = {}
        for note in read_notes(directory / f"{server.name}.notes"):
            if note.what == "begin":
                run = under_way[note.request] = Run(server.name, note.at, note.details == "redelivered")
                fates[note.request].runs.append(run)
            else:
                under_way[note.request].ended = note.at
    for fate in fates.values():
        fate.runs.sort(key=lambda run: run.began)
    return list(fates.values())
