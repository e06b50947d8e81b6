"""Run groups of tests in a few processes: `python -m tests.support.side_by_side [--workers N] <GROUPS`.

Each line of the input is a group: its name, a tab, and a shell command. Groups start in this order, the next one as
soon as a process is free, so the longest come first. The output of a group appears as a whole when it ends. The last
lines list all groups and what failed in them: logs of continuous integration are often cut at the beginning.

The exit status is 0 if all groups passed, 1 if one failed, and 130 after Ctrl-C (143 after SIGTERM, 129 after SIGHUP),
which ends all groups. This module needs no package, and starts before gevent patches anything.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO, NoReturn

from tests.support.die_with_parent import lead_session_and_die_with_parent

#: How long a group that is interrupted may take to end its brokers (seconds) before it is killed.
GRACE = 20.0
#: How much of a line that says what failed is repeated.
WIDTH = 240
# Of pytest's summary, and of a summary of this program in the output of a group. Log records have more spaces.
_FAILURE = re.compile(r"^\s*(?P<line>(?:FAILED|ERROR) \S+\.py\b.*)$")
_COUNTS = re.compile(
    r"^=+ (?P<counts>.*\b(?:passed|failed|error|errors|skipped|deselected|no tests ran)\b.*?) in [\d.]+s\b"
)
#: Lines shown of a group that failed and does not say which test did.
_LAST_LINES = 8


@dataclass(frozen=True)
class Group:
    """Something to run: a shell command, and the name that stands for it in the output."""

    name: str
    command: str


@dataclass(frozen=True)
class Outcome:
    """What became of a group."""

    group: Group
    status: int
    seconds: float
    output: str

    @property
    def headline(self) -> str:
        """Return one line: the name, whether it passed, how long it took, and what pytest counted."""
        verdict = "passed" if self.status == 0 else f"FAILED with status {self.status}"
        counts = [match["counts"] for match in map(_COUNTS.match, self.output.splitlines()) if match]
        return f"{self.group.name}: {verdict} after {self.seconds:.0f} s" + (
            f" ({'; '.join(counts)})" if counts else ""
        )

    @property
    def failures(self) -> list[str]:
        """Return the lines that say what failed, or the last ones of a group that failed otherwise."""
        lines = self.output.splitlines()
        found = dict.fromkeys(match["line"][:WIDTH] for match in map(_FAILURE.match, lines) if match)
        if self.status == 0:
            return []
        return list(found) or [line[:WIDTH] for line in lines if line.strip()][-_LAST_LINES:]


@dataclass
class _Running:
    group: Group
    process: "subprocess.Popen[bytes]"
    output: IO[bytes]
    started: float = field(default_factory=time.monotonic)

    def outcome(self) -> Outcome:
        self.output.seek(0)
        text = self.output.read().decode(errors="replace")
        self.output.close()
        return Outcome(self.group, self.process.wait(), time.monotonic() - self.started, text)


class Interrupted(Exception):
    """A signal ended the run.

    Attributes:
        signal: its number.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.signal = number


def read_groups(lines: Iterable[str]) -> list[Group]:
    """Read lines of a name, a tab and a command; empty lines are skipped.

    Raises:
        ValueError: a line has no command.
    """
    groups = []
    for line in filter(str.strip, lines):
        name, _, command = line.rstrip("\n").partition("\t")
        if not command.strip():
            raise ValueError(f"a group is a name, a tab and a command, not {line!r}")
        groups.append(Group(name.strip(), command.strip()))
    return groups


def run(groups: Sequence[Group], *, workers: int, cwd: Path | None = None) -> list[Outcome]:
    """Run groups, `workers` of them at a time, and print the output of each when it ends.

    Returns:
        What became of them, in the order of `groups`.

    Raises:
        Interrupted: as signal handlers do. All groups that ran have ended by then.
    """
    waiting = list(reversed(groups))
    running: dict[int, _Running] = {}
    outcomes: dict[Group, Outcome] = {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                started = _start(waiting.pop(), cwd)
                running[started.process.pid] = started
                _say(f"started: {started.group.name}")
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
            assert ended is not None
            if ended.si_pid not in running:
                # An orphan that this process inherited, as the first one of a container does.
                os.waitpid(ended.si_pid, 0)
                continue
            # Its process is still there, as a zombie, so that its group is not another's.
            _kill(ended.si_pid)
            outcome = running.pop(ended.si_pid).outcome()
            outcomes[outcome.group] = outcome
            _say(f"\n===== {outcome.headline}\n{outcome.output.rstrip()}\n===== end of {outcome.group.name}\n")
    finally:
        _end(list(running.values()))
    return [outcomes[group] for group in groups]


def summary(outcomes: Sequence[Outcome]) -> str:
    """Return the last lines of a run: every group, then what failed."""
    lines = [f"  {outcome.headline}" for outcome in outcomes]
    failed = [outcome for outcome in outcomes if outcome.status != 0]
    if not failed:
        return "\n".join(["All groups passed:", *lines])
    lines = [f"{len(failed)} of {len(outcomes)} groups failed:", *lines, "", "What failed:"]
    for outcome in failed:
        lines += [f"{outcome.group.name}:", *(f"  {failure}" for failure in outcome.failures)]
    return "\n".join(lines)


def run_and_report(groups: Sequence[Group], *, workers: int, cwd: Path | None = None) -> int:
    """Run groups, say what became of them, and return the exit status of the program."""
    # Ctrl-C too: a shell that runs this in the background lets it ignore that.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        outcomes = run(groups, workers=workers, cwd=cwd)
    except Interrupted as interrupted:
        _say(f"interrupted by {signal.Signals(interrupted.signal).name}")
        return 128 + interrupted.signal
    _say(summary(outcomes))
    return int(not outcomes or any(outcome.status != 0 for outcome in outcomes))


def main() -> int:
    """Run the groups of the standard input; return the exit status."""
    parser = argparse.ArgumentParser(description="Run groups of tests in a few processes.")
    parser.add_argument("--workers", type=int, default=2, help="how many run at a time (default: 2)")
    workers = parser.parse_args().workers
    return run_and_report(read_groups(sys.stdin), workers=workers)


def _start(group: Group, cwd: Path | None) -> _Running:
    output = tempfile.TemporaryFile()  # noqa: SIM115 # closed with the outcome
    process = subprocess.Popen(
        ["sh", "-c", group.command],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        preexec_fn=lead_session_and_die_with_parent,
    )
    return _Running(group, process, output)


def _end(running: Sequence[_Running]) -> None:
    """Interrupt groups, as Ctrl-C does, and kill those that do not end."""
    for each in running:
        _signal(each.process.pid, signal.SIGINT)
    deadline = time.monotonic() + GRACE
    for each in running:
        with suppress(subprocess.TimeoutExpired, Interrupted):
            each.process.wait(max(0.0, deadline - time.monotonic()))
        _kill(each.process.pid)
        each.process.wait()
        each.output.close()


def _kill(process_group: int) -> None:
    """Kill what is left of a group."""
    _signal(process_group, signal.SIGKILL)


def _signal(process_group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process_group, number)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise Interrupted(number)


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
