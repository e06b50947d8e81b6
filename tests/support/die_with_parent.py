"""Tie a child process to this one: it is killed when this process ends, however it ends."""

import ctypes
import os
import signal
import sys

# Loaded now: between fork and exec a child must do as little as possible.
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1


def lead_session_and_die_with_parent() -> None:
    """Run in a new child (`preexec_fn`): lead a session of its own, and die when the parent does.

    An interrupted test run ends its children itself; this is for one that is killed, and cannot.
    Only Linux has it; elsewhere a killed test run leaves its children behind.
    """
    os.setsid()
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
