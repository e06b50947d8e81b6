"""The text that a chaos run prints: its progress, a table, and a last line for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from chaos.fates import Fate
from chaos.faults import Event
from chaos.verdict import Verdict

#: Requests of each kind of trouble that are shown whole.
_SHOWN = 10


def progress_line(elapsed: float, minutes: float, counts: Counter[str], under_way: int, events: list[Event]) -> str:
    """Write what goes on at the moment."""
    now = [f"{event.what} ({event.target})" for event in events if event.ended == float("inf")]
    return (
        f"{elapsed:4.0f} s of {minutes * 60:.0f}: {counts['calls']} calls, {under_way} under way, "
        f"{counts['reconnects']} reconnects, {len(events)} harms; {', '.join(now) or 'at peace'}"
    )


def table(
    verdict: Verdict,
    events: Iterable[Event],
    *,
    reconnects: int,
    memory_at_start: Mapping[str, float],
    memory_at_end: Mapping[str, float],
    left: Mapping[str, int],
    complaints: Iterable[str],
) -> str:
    """Write the account of a run."""
    harms = Counter(event.what for event in events)
    rows: list[tuple[str, object, str]] = [
        ("calls", verdict.calls, f"and {verdict.orphans} of clients that were killed"),
        ("outcomes", verdict.outcomes.total(), _counted(verdict.outcomes)),
        ("lost", len(verdict.lost), "no answer, or a wrong one"),
        ("hung", len(verdict.hung), "not exactly one outcome"),
        ("confirmed but not run", len(verdict.unrun), ""),
        ("gone with deleted queues", verdict.deleted.total(), _counted(verdict.deleted)),
        ("run twice", verdict.twice.total(), _counted(verdict.twice)),
        ("twice by one process", len(verdict.same_process), ""),
        ("left in queues", sum(left.values()), _counted(left)),
        ("longest call", f"{verdict.longest_call:.1f} s", ""),
        ("longest stall", f"{verdict.longest_stall:.1f} s", "without an outcome in any client"),
        ("reconnects", reconnects, ""),
        ("memory at start", "", _mebibytes(memory_at_start)),
        ("memory at end", "", _mebibytes(memory_at_end)),
        ("harms", harms.total(), _counted(harms)),
    ]
    lines = [f"{name:<25} {value!s:>8}  {details}".rstrip() for name, value, details in rows]
    for name, fates in (
        ("lost", verdict.lost),
        ("hung", verdict.hung),
        ("not run", verdict.unrun),
        ("twice by one process", verdict.same_process),
    ):
        lines += [f"{name}: {_whole(fate)}" for fate in fates[:_SHOWN]]
    return "\n".join([*lines, *complaints])


def last_line(verdict: Verdict, *, reconnects: int, seed: int) -> str:
    """Write the line that programs read."""
    return (
        f"lost={len(verdict.lost)} hung={len(verdict.hung)} unrun={len(verdict.unrun)} "
        f"twice={verdict.twice.total()} calls={verdict.calls} reconnects={reconnects} seed={seed}"
    )


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name}: {count}" for name, count in sorted(counts.items(), key=lambda item: -item[1]))


def _mebibytes(memory: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {size:.0f} MiB" for name, size in memory.items())


def _whole(fate: Fate) -> str:
    confirmed = f"confirmed {fate.confirmed:.3f}" if fate.confirmed is not None else "not confirmed"
    outcomes = "; ".join(f"{note.at:.3f} {note.what} {note.details}" for note in fate.outcomes) or "no outcome"
    ended = [(run, "no end" if run.ended is None else f"{run.ended:.3f}") for run in fate.runs]
    runs = "; ".join(f"{run.process} {run.began:.3f} to {end}" for run, end in ended) or "no run"
    return f"{fate.request} to {fate.label or 'the service'}: sent {fate.sent:.3f}, {confirmed}, {outcomes}, {runs}"
