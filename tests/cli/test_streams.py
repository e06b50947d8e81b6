"""Standard output that nobody reads, that is closed, or that is full: a status and a sentence, and no traceback."""

import subprocess
import sys

import pytest

from tests.support.processes import ROOT

ABSENT = "--broker amqp://127.0.0.1:1 --connect-timeout 0.1"

COMMANDS = [f"doctor {ABSENT}", f"doctor --json {ABSENT}", "completion bash", "--help", "doctor --help", "--version"]


def run(command: str, redirection: str) -> tuple[int, str]:
    """Return the status and what standard error got."""
    line = f'set -o pipefail; "{sys.executable}" -m amphora {command} {redirection}'
    done = subprocess.run(["bash", "-c", line], cwd=ROOT, capture_output=True, text=True, timeout=100)
    return done.returncode, done.stderr


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("redirection", ["| true", ">&-", ">/dev/full", "2>&- >/dev/null", "2>&- >&-"])
def test_a_command_ends_without_a_traceback(command: str, redirection: str) -> None:
    status, told = run(command, redirection)

    assert "Traceback" not in told
    assert "Exception" not in told
    if redirection == "| true":
        # How soon the reader ends is not known.
        assert status in (0, 4, 141)
    elif redirection == ">/dev/full":
        assert (status, "cannot write: No space left on device" in told) == (1, True)
    else:
        assert status == (4 if ABSENT in command else 0)
