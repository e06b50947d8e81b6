"""Run the whole test suite: python -m scripts.run_tests [ROOT].

In two processes side by side, because most tests wait for brokers and other programs. The test files are divided into
groups, and a process that has finished its group takes the next one (tests/support/side_by_side.py). The output of a
group is printed when the group has ended, and what failed once more at the end.
"""

import shlex
import sys
from pathlib import Path

from tests.support import side_by_side
from tests.support.side_by_side import Group

#: Directories and the number of groups that each is divided into. Each group starts brokers of its own, some seconds
#: long, so there are few; those that take longest come first, so that both processes end at about the same time. What
#: is in none of the directories is a group of its own.
DIVISIONS = {
    "tests/unit": 1,
    "tests/contrib/django": 2,
    "tests/acceptance": 4,
    "tests/integration": 3,
    "tests/contrib/celery": 2,
    "tests/cli": 1,
    "tests/documentation": 1,
}
PROCESSES = 2


def files_of_groups(root: Path) -> dict[str, list[str]]:
    """Return the test files of each group, in the order in which the groups are started."""
    found: dict[str, list[str]] = {directory: [] for directory in DIVISIONS}
    others = found["the other tests"] = []
    for path in sorted(root.glob("tests/**/test_*.py")):
        file = path.relative_to(root).as_posix()
        next((found[each] for each in DIVISIONS if file.startswith(f"{each}/")), others).append(file)
    groups = {}
    for name, files in found.items():
        count = DIVISIONS.get(name, 1)
        for number in range(count):
            if part := files[number::count]:
                groups[f"{name} ({number + 1} of {count})" if count > 1 else name] = part
    return groups


def main(arguments: list[str]) -> int:
    """Run everything; return the exit status."""
    root = Path(arguments[0]) if arguments else Path(__file__).parents[1]
    pytest = [sys.executable, "-m", "pytest"]
    groups = [
        # The shell becomes pytest, so that it is one process to be interrupted.
        Group(name, f"exec {shlex.join([*pytest, *files])}")
        for name, files in files_of_groups(root).items()
    ]
    return side_by_side.run_and_report(groups, workers=PROCESSES, cwd=root)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
