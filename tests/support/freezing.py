"""`freeze`: stops a process for the time being, all of it."""

import os
import signal
from pathlib import Path

from tests.support.eventually import wait_until

__all__ = ["freeze"]


def freeze(pid: int) -> None:
    """Send SIGSTOP to a process and wait until all its threads have stopped.

    The thread that takes the signal stops the others: on a busy machine, they may work on for a moment.
    """
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: _is_stopped(pid), 20)


def _is_stopped(pid: int) -> bool:
    try:
        stats = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/stat")]
    except FileNotFoundError:
        # A thread has ended meanwhile.
        return False
    return all(stat.rpartition(")")[2].split()[0] == "T" for stat in stats)
