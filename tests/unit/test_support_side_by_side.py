"""Groups of tests side by side: a free process takes the next one, and what failed is listed at the end."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import ROOT
from tests.support.side_by_side import Group, read_groups


def run(*groups: str, workers: int = 2) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "tests.support.side_by_side", "--workers", str(workers)]
    return subprocess.run(
        command, cwd=ROOT, input="\n".join(groups), capture_output=True, text=True, timeout=60, check=False
    )


def test_the_next_group_starts_while_a_long_one_runs(tmp_path: Path) -> None:
    done = run(
        f"long\tuntil [ -e {tmp_path}/last ]; do sleep 0.05; done",
        "short\ttrue",
        f"last\ttouch {tmp_path}/last",
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-4] == "All groups passed:"
    assert [line.split(":")[0].strip() for line in done.stdout.splitlines()[-3:]] == ["long", "short", "last"]


def test_the_output_of_a_group_is_not_mixed_with_that_of_another(tmp_path: Path) -> None:
    both = f"touch {tmp_path}/$0; until [ -e {tmp_path}/a ] && [ -e {tmp_path}/b ]; do sleep 0.05; done"
    done = run(*(f"{name}\techo {name}1; sh -c '{both}' {name}; echo {name}2" for name in ("a", "b")))

    assert done.returncode == 0, done.stdout + done.stderr
    assert "\na1\na2\n" in done.stdout
    assert "\nb1\nb2\n" in done.stdout


@pytest.mark.parametrize(
    ("output", "listed"),
    [
        ("FAILED tests/test_a.py::test_one - assert 1", ["FAILED tests/test_a.py::test_one - assert 1"]),
        ("ERROR    amphora:server.py:12 lost\nERROR tests/test_a.py", ["ERROR tests/test_a.py"]),
        ("1 of 2 groups failed:\nunit:\n  FAILED tests/test_b.py::test_two", ["FAILED tests/test_b.py::test_two"]),
        ("lost=1\nhung=0", ["lost=1", "hung=0"]),
    ],
    ids=["a test", "a log record is none", "a group of a group", "no test"],
)
def test_what_failed_is_in_the_last_lines(tmp_path: Path, output: str, listed: list[str]) -> None:
    (tmp_path / "output").write_text(output)

    done = run(f"bad\tcat {tmp_path}/output; exit 3", "good\techo FAILED tests/test_c.py::is_expected")

    assert done.returncode == 1
    assert "  bad: FAILED with status 3 after " in done.stdout
    _, _, failed = done.stdout.partition("\nWhat failed:\n")
    assert failed.splitlines() == ["bad:", *(f"  {line}" for line in listed)]


def test_what_a_group_leaves_behind_is_ended_with_it(tmp_path: Path) -> None:
    done = run(f"group\tsleep 600 & echo $! >{tmp_path}/pid")

    assert done.returncode == 0
    stat = Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}/stat")
    # Killed; it may wait, as a zombie, for the first process of the machine to note that.
    assert not stat.exists() or stat.read_text().rpartition(") ")[2][0] == "Z"


def test_a_group_is_a_line_of_a_name_and_a_command() -> None:
    assert read_groups(["unit\tpytest tests/unit\n", "\n", "docs\tmake docs\n"]) == [
        Group("unit", "pytest tests/unit"),
        Group("docs", "make docs"),
    ]
    with pytest.raises(ValueError, match="not 'unit'"):
        read_groups(["unit"])
