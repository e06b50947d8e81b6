"""The plug-in that fails tests for errors that nothing else notices."""

import re
import subprocess
import sys
from pathlib import Path
from textwrap import indent

import pytest

from tests.support.processes import ROOT

GREENLET = """
import gevent
def die(): raise RuntimeError("lost")
exec(compile("gevent.spawn(die).join()", "amphora/server/server.py", "exec"))
"""
THREAD = """
import threading
def die(): raise RuntimeError("lost")
die.__module__ = "amphora.server"
thread = threading.Thread(target=die)
thread.start()
thread.join()
"""
NOTE = """
from amphora.logs.note_log import NoteLogger
NoteLogger("amphora.server").error("lost")
"""
PROGRAM = """
from tests.support.processes import Program
with Program("-c", "raise RuntimeError('lost')") as program:
    program.wait()
"""
OF_THE_TEST = """
import gevent
def die(): raise RuntimeError("lost")
gevent.spawn(die).join()
"""


@pytest.mark.parametrize("what", [GREENLET, THREAD, NOTE, PROGRAM], ids=["greenlet", "thread", "record", "program"])
def test_what_a_test_does_not_expect_fails_it(tmp_path: Path, what: str) -> None:
    expected, another = '@pytest.mark.expects_errors("lost")', '@pytest.mark.expects_errors("found")'

    failed = errors_of(tmp_path, {"plain": ("", what), "expected": (expected, what), "another": (another, what)})

    assert failed == ["test_plain", "test_another"]


def test_the_end_of_a_greenlet_of_the_test_itself_does_not_fail_it(tmp_path: Path) -> None:
    assert errors_of(tmp_path, {"own": ("", OF_THE_TEST)}) == []


def errors_of(directory: Path, tests: dict[str, tuple[str, str]]) -> list[str]:
    """Run tests, given by mark and body, in a process of their own; return the names of those with errors."""
    (directory / "tests").mkdir()
    source = "import pytest\n"
    for name, (mark, body) in tests.items():
        source += f"\n{mark}\ndef test_{name}():\n{indent(body.strip(), '    ')}\n"
    (directory / "tests" / "test_it.py").write_text(source)
    options = ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(directory), "-p", "no:cacheprovider", "-q"]
    plugins = "addopts=-p no:django -p tests.patch_gevent -p tests.error_watch -ra"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "--override-ini", plugins, str(directory)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert f"{len(tests)} passed" in done.stdout
    return re.findall(r"^ERROR .*::(\w+)", done.stdout, re.MULTILINE)
