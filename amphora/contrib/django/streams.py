"""Standard output and standard error of the commands: closed from the start, or by the program that reads them."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["exiting_on_broken_pipe", "open_closed_streams"]


def open_closed_streams() -> None:
    """Open what a shell has closed (``2>&-``), to nowhere: Python has None in its place, and others would fail with it.

    The numbers 1 and 2 are taken too where they are free: the next file or socket that is opened would have one, and be
    written to by those who mean the streams.
    """
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            if nowhere != number and not _is_open(number):
                os.dup2(nowhere, number)
                os.close(nowhere)
                nowhere = number
            # Also for the program that takes this one's place.
            os.set_inheritable(nowhere, True)
            setattr(sys, name, os.fdopen(nowhere, "w"))


@contextmanager
def exiting_on_broken_pipe() -> Iterator[None]:
    """Exit without a traceback where the program that reads the output has ended, as in ``... | head -1``.

    Raises:
        SystemExit: With the status that a shell reports for programs that SIGPIPE ends.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        # What is left in the buffer is written at the end of the program.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True
