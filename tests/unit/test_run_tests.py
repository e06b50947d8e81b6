"""scripts/run_tests.py: every test file runs once, and what failed is said at the end."""

import os
import re
import signal
from pathlib import Path

import pytest

from scripts.run_tests import files_of_groups
from tests.support.eventually import wait_until
from tests.support.processes import ROOT, Program

SCRIPT = ("-m", "scripts.run_tests")
PATIENCE = 60

PASSES = "def test_passes(): pass\n"
FAILS = "def test_fails(): assert 1 == 2\n"
BREAKS = "raise RuntimeError('cannot be imported')\n"
WAITS = """
import os, pathlib, time

def test_waits():
    pathlib.Path("waiting").write_text(str(os.getpid()))
    time.sleep(600)
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a test in two of the groups, and one in a directory of its own."""
    write(tmp_path, {"unit/test_one.py": PASSES, "acceptance/test_two.py": PASSES, "new/deep/test_three.py": PASSES})
    # Its tests need no plug-ins, which take seconds to load.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --import-mode=importlib -p no:cacheprovider\n")
    return tmp_path


def write(project: Path, files: dict[str, str]) -> None:
    """Write test files of the project."""
    for name, text in files.items():
        path = project / "tests" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_all_test_files_run(project: Path) -> None:
    with Program(*SCRIPT, str(project)) as program:
        assert program.wait(PATIENCE) == 0, program.output

    text = program.output
    for name in ("tests/unit/test_one.py", "tests/acceptance/test_two.py", "tests/new/deep/test_three.py"):
        assert text.count(f"{name} .") == 1, text
    assert len(re.findall(r"^  .*: passed after \d+ s \(1 passed\)$", text, re.MULTILINE)) == 3, text


@pytest.mark.expects_errors("test_bad.py")
@pytest.mark.parametrize(
    ("content", "line"), [(FAILS, "FAILED tests/cli/test_bad.py::test_fails"), (BREAKS, "ERROR tests/cli/test_bad.py")]
)
def test_what_failed_is_said_at_the_end_and_the_others_run(project: Path, content: str, line: str) -> None:
    write(project, {"cli/test_bad.py": content})

    with Program(*SCRIPT, str(project)) as program:
        assert program.wait(PATIENCE) == 1, program.output

    assert program.lines[-2] == "tests/cli:"
    assert program.lines[-1].strip().startswith(line)
    assert len(re.findall(r"^  .*: passed after \d+ s \(1 passed\)$", program.output, re.MULTILINE)) == 3


def test_a_project_without_tests_fails(tmp_path: Path) -> None:
    with Program(*SCRIPT, str(tmp_path)) as program:
        assert program.wait(PATIENCE) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_tests_that_run(project: Path, number: signal.Signals) -> None:
    write(project, {"acceptance/test_waits.py": WAITS})
    waiting = project / "waiting"
    with Program(*SCRIPT, str(project)) as program:
        wait_until(lambda: waiting.exists() and waiting.read_text(), PATIENCE)
        pid = int(waiting.read_text())

        os.kill(program.pid, number)

        assert program.wait(PATIENCE) == 128 + number, program.output
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_every_test_file_of_this_project_is_in_one_group() -> None:
    files = [file for group in files_of_groups(ROOT).values() for file in group]

    assert sorted(files) == sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("test_*.py"))
