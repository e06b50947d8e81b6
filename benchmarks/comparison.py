"""The measurements of `compare.py` as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from figures import AT_REST, Figure
from report import Results, Run, Spread, Value, cpu_per_1000, p50, p99, peers_section, per_second, table
from wanted import OF_THE_HOT_PATH, wanted_section

#: The peers that ratios are taken to, by the name in the table's head.
_CEILING = "librabbitmq"
_BASELINE = "pyamqp"


def render(results: Results, runs: Sequence[Run], figures: Sequence[Figure]) -> str:
    """The one table, then what explains it."""
    parts = [
        _speed(results),
        _ratios(results),
        _cpu(results),
        _at_rest(results, figures),
        _amphora_alone(figures),
        wanted_section(results, OF_THE_HOT_PATH),
        _ahead(results),
        peers_section(results),
        _failures(runs, figures),
    ]
    return "\n\n".join(filter(None, parts))


def _columns(results: Results) -> list[tuple[str, str, Value, str]]:
    """Head, workload, value and format of the main table's columns."""
    columns = [
        ("sequential p50 ms", "sequential", p50, ".2f"),
        ("p99 ms", "sequential", p99, ".2f"),
        ("calls/s sequential", "sequential", per_second, ".0f"),
        ("10 in flight", "10 in flight", per_second, ".0f"),
        ("100 in flight", "in flight", per_second, ".0f"),
        ("1000 in flight", "1000 in flight", per_second, ".0f"),
        *(
            (f"100 in flight, {name}", name, per_second, ".0f")
            for name in results.workloads
            if name.endswith(" servers")
        ),
        ("10 kB calls/s", "10 kB", per_second, ".0f"),
        ("100 kB calls/s", "large", per_second, ".0f"),
        ("1 MB calls/s", "1 MB", per_second, ".1f"),
        ("confirmed sends/s", "sends", per_second, ".0f"),
    ]
    return [column for column in columns if column[1] in results.workloads]


def _speed(results: Results) -> str:
    columns = _columns(results)
    rows = [
        [peer, *(f"{results.values(peer, workload, value):{digits}}" for _, workload, value, digits in columns)]
        for peer in results.peers
    ]
    return f"## Speed\n\n{table(['peer', *(column[0] for column in columns)], rows, numbers=True)}"


def _ratios(results: Results) -> str:
    """The same as ratios within a round, to C and to the hand-written loop in Python."""
    parts = []
    columns = [column for column in _columns(results) if column[1:3] != ("sequential", per_second)]
    for other in (_CEILING, _BASELINE):
        if results.about(other) is None:
            continue
        rows = []
        for peer in results.peers:
            if peer != other:
                found = (results.ratios(peer, other, workload, value) for _, workload, value, _ in columns)
                rows.append([peer, *(f"{each:.2f}" for each in found)])
        if rows:
            head = ["peer", *(column[0] for column in columns)]
            parts.append(f"## Ratios to {other}\n\n{table(head, rows, numbers=True)}")
    return "\n\n".join(parts)


def _cpu(results: Results) -> str:
    cells = [(workload, process) for workload in ("sequential", "in flight") for process in _PROCESSES]
    rows = [
        [peer, *(f"{results.values(peer, workload, cpu_per_1000(process)):.3f}" for workload, process in cells)]
        for peer in results.peers
    ]
    header = ["peer", *(f"{_CPU_WORKLOADS[workload]}: {process}" for workload, process in cells)]
    return f"## CPU seconds per 1,000 calls\n\n{table(header, rows, numbers=True)}"


_PROCESSES = ("client", "server", "broker")
_CPU_WORKLOADS = {"sequential": "sequential", "in flight": "100 in flight"}


def _at_rest(results: Results, figures: Sequence[Figure]) -> str:
    rows = [[peer, *(f"{_values(figures, peer, name):.2f}" for name in AT_REST)] for peer in results.peers]
    return f"## Starting, and doing nothing\n\n{table(['peer', *AT_REST], rows, numbers=True)}"


def _amphora_alone(figures: Sequence[Figure]) -> str:
    names = dict.fromkeys(each.name for each in figures if each.name not in AT_REST and each.value is not None)
    if not names:
        return ""
    rows = [[name, f"{_values(figures, 'amphora', name):.2f}"] for name in names]
    return f"## Asked of Amphora only\n\n{table(['', 'amphora'], rows, numbers=True)}"


def _ahead(results: Results) -> str:
    """Who of the others in Python is ahead of Amphora, and where."""
    if "amphora" not in results.peers:
        return ""
    ahead = []
    for head, workload, value, _ in _columns(results):
        for peer in results.peers:
            # Amphora with the fast JSON packages is no other peer.
            if peer == _CEILING or peer.startswith("amphora"):
                continue
            ratio = results.ratios("amphora", peer, workload, value)
            if ratio.values and (ratio.median > 1) == (value in (p50, p99)):
                ahead.append(f"{peer} at {head} ({ratio:.2f})")
    return f"Ahead of Amphora, of the peers in Python, with its ratio to them: {', '.join(ahead) or 'nobody'}."


def _failures(runs: Sequence[Run], figures: Sequence[Figure]) -> str:
    """Who failed where, and the last line of why; the same reason once a peer."""
    reasons: dict[tuple[str, str], list[str]] = {}
    failed = [(run.peer, run.workload, run.reason) for run in runs if run.measurement is None]
    failed += [(figure.peer, figure.name, figure.reason) for figure in figures if figure.value is None]
    for peer, name, reason in failed:
        names = reasons.setdefault((peer, _last_line(reason)), [])
        if name not in names:
            names.append(name)
    if not reasons:
        return ""
    rows = [[peer, ", ".join(names), reason] for (peer, reason), names in reasons.items()]
    return f"## Failed\n\n{table(['peer', 'at', 'why'], rows)}"


def _last_line(reason: str) -> str:
    """What a traceback ends with, fit for a table's cell."""
    lines = [line.strip() for line in reason.splitlines() if line.strip()] or ["unknown"]
    return lines[-1][:300].replace("|", "\\|")


def _values(figures: Sequence[Figure], peer: str, name: str) -> Spread:
    found = (each.value for each in figures if each.peer == peer and each.name == name)
    return Spread(tuple(value for value in found if value is not None))
