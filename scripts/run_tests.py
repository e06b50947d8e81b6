"""Run the whole test suite: run_tests.py [ROOT].

In two processes side by side, because most tests wait for brokers and other programs. The test files are divided into
groups, and a process that has finished its group takes the next one. The output of a group is printed when the group
has ended, and what failed once more at the end.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import IO

#: Directories and the number of groups that each is divided into, those that take longest first. What is in none of
#: them is a group of its own.
DIVISIONS = {
    "tests/acceptance": 5,
    "tests/integration": 4,
    "tests/contrib/django": 2,
    "tests/contrib/celery": 2,
    "tests/documentation": 2,
    "tests/cli": 2,
    "tests/unit": 1,
}
PROCESSES = 2

#: Seconds that a process has to stop its brokers after a Ctrl-C.
_STOP_LIMIT = 60.0


@dataclass(frozen=True)
class Group:
    """Test files that run in one process."""

    name: str
    files: tuple[str, ...]


@dataclass
class Run:
    """A group that runs, or has run; pytest's output is in a file."""

    group: Group
    process: subprocess.Popen[bytes]
    output: IO[bytes]
    started: float
    seconds: float = 0.0

    @property
    def text(self) -> str:
        """What pytest has printed."""
        self.output.seek(0)
        return self.output.read().decode(errors="replace")


def groups_of(root: Path) -> list[Group]:
    """Return the groups of all test files, in the order in which they are started."""
    found: dict[str, list[str]] = {directory: [] for directory in DIVISIONS}
    others = found["the other tests"] = []
    for path in sorted(root.glob("tests/**/test_*.py")):
        file = path.relative_to(root).as_posix()
        next((found[each] for each in DIVISIONS if file.startswith(f"{each}/")), others).append(file)
    groups = []
    for name, files in found.items():
        count = DIVISIONS.get(name, 1)
        for number in range(count):
            if part := tuple(files[number::count]):
                groups.append(Group(f"{name} ({number + 1} of {count})" if count > 1 else name, part))
    return groups


def start(group: Group, root: Path) -> Run:
    """Start pytest for a group."""
    output = tempfile.TemporaryFile()  # noqa: SIM115  (read when the process has ended)
    process = subprocess.Popen(  # noqa: S603  (pytest itself)
        [sys.executable, "-m", "pytest", *group.files],
        cwd=root,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    return Run(group, process, output, time.monotonic())


def run_all(groups: list[Group], root: Path) -> list[Run]:
    """Run all groups, and print the output of each."""
    waiting, running, ended = deque(groups), list[Run](), list[Run]()
    try:
        while waiting or running:
            while waiting and len(running) < PROCESSES:
                running.append(start(waiting.popleft(), root))
            done = next((run for run in running if run.process.poll() is not None), None)
            if done is None:
                time.sleep(0.2)
                continue
            running.remove(done)
            ended.append(done)
            done.seconds = time.monotonic() - done.started
            print(
                f"\n{done.group.name}: {len(done.group.files)} files in {done.seconds:.0f} s\n\n{done.text}", flush=True
            )
    finally:
        stop(running)
    return ended


def stop(runs: list[Run]) -> None:
    """End processes, as Ctrl-C does, and what they have started."""
    for run in runs:
        os.killpg(run.process.pid, signal.SIGINT)
    for run in runs:
        try:
            run.process.wait(_STOP_LIMIT)
        except subprocess.TimeoutExpired:
            os.killpg(run.process.pid, signal.SIGKILL)


def summary_of(runs: list[Run]) -> str:
    """Return what each group came to, and what failed."""
    lines = []
    for run in runs:
        last = re.findall(r"^=+ (.*?) =+$", run.text, re.MULTILINE)
        result = last[-1] if last else "no result"
        lines.append(f"{run.group.name}: exit status {run.process.returncode}, {result}")
    failures = [line for run in runs for line in re.findall(r"^(?:FAILED|ERROR) .*$", run.text, re.MULTILINE)]
    return "\n".join([*lines, *failures])


def main(arguments: list[str]) -> int:
    """Run everything; return the exit status."""
    root = Path(arguments[0]) if arguments else Path(__file__).parents[1]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
    try:
        runs = run_all(groups_of(root), root)
    except KeyboardInterrupt:
        return 130
    print(f"\nThe groups, and what failed:\n{summary_of(runs)}")
    return int(not runs or any(run.process.returncode for run in runs))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
