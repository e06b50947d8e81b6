"""Watches the code for changes (by watchfiles), in a thread beside gevent's."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import gevent
import watchfiles

__all__ = ["watch"]

logger = logging.getLogger(__name__)

#: Seconds after which a failed watch begins again.
_AGAIN = 1.0

#: Milliseconds that the watching thread waits at a time.
_STEP = 500


def watch(directories: Sequence[Path], on_change: Callable[[str], object]) -> None:
    """Call a function for each change of Python files; runs until its greenlet is killed.

    Args:
        directories: Watched with all below them.
        on_change: Takes a text that names what has changed.
    """
    while True:
        try:
            _watch(directories, on_change)
        except Exception:
            # Such as a directory that is gone, or no more watches of the system's: later changes still matter.
            logger.exception("watching the code failed; trying again in %g s", _AGAIN)
            gevent.sleep(_AGAIN)
        else:
            return


def _watch(directories: Sequence[Path], on_change: Callable[[str], object]) -> None:
    changes = watchfiles.watch(
        *directories,
        watch_filter=watchfiles.PythonFilter(),
        rust_timeout=_STEP,
        yield_on_timeout=True,
        raise_interrupt=False,
    )
    pool = gevent.get_hub().threadpool
    while True:
        # It waits in a system call, where no greenlet would run.
        found = pool.apply(next, (changes, None))
        if found is None:
            return
        if found:
            names = sorted({os.path.relpath(path) for _, path in found})
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            on_change(f"{names[0]} has changed{more}")
