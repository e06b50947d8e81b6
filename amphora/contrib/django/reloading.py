"""Starts the server again when code changes: the process that starts it, and the watch that ends it."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import sysconfig
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType

from django.apps import apps
from django.utils import autoreload

__all__ = ["FORWARDED", "RELOAD", "end_or_wait_for_change", "is_reloaded", "supervise", "watch"]

logger = logging.getLogger(__name__)

#: Seconds after which files are looked at again where that has failed.
_AGAIN = 1.0

#: Exit status of a child that is to be started again, as Django's own reloader has it.
RELOAD = 3

#: What the child gets for the SIGINT or SIGTERM of its parent. With SIGTERM itself, it could not tell one signal to the
#: whole process group, which both get, from two.
FORWARDED: int = signal.SIGRTMIN + 5 if hasattr(signal, "SIGRTMIN") else signal.SIGTERM

#: How often the child was started again; set in children only.
_RELOADS = "AMPHORA_RELOADS"


def is_reloaded() -> bool:
    """Return whether this process is one that `supervise` has started."""
    return _RELOADS in os.environ


def supervise(command: list[str]) -> int:
    """Run a command, again and again for as long as it ends to be reloaded.

    A first SIGINT or SIGTERM reaches it as `FORWARDED`, so that it stops warm; so does a second one.

    Args:
        command: The command line.

    Returns:
        What the command ended with; 128 and more, as in a shell, where a signal ended it.
    """
    child: subprocess.Popen[bytes] | None = None
    stops = 0

    def forward(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  (as `signal` calls it)
        nonlocal stops
        stops += 1
        if child is not None:
            child.send_signal(FORWARDED)

    signal.signal(signal.SIGTERM, forward)
    # Ignored already, by nohup or a shell's "&", it stays so.
    on_interrupt = signal.SIG_IGN if signal.getsignal(signal.SIGINT) == signal.SIG_IGN else forward
    reloads = 0
    while True:
        environment = {**os.environ, autoreload.DJANGO_AUTORELOAD_ENV: "true", _RELOADS: str(reloads)}
        # A terminal sends CONTROL-C to both; the child inherits that it does not care, and gets one signal, not two.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        seen = stops
        child = subprocess.Popen(command, env=environment, close_fds=False)  # noqa: S603  (this program's own)
        signal.signal(signal.SIGINT, on_interrupt)
        if stops > seen:
            child.send_signal(FORWARDED)
        status = child.wait()
        if status != RELOAD or stops:
            break
        reloads += 1
    if stops and status in (-signal.SIGTERM, -FORWARDED, RELOAD):
        # It was told to end before it could serve, or while it was ending anyway.
        return 0
    return status if status >= 0 else 128 - status


def watch(on_change: Callable[[str], object]) -> None:
    """Wait until a file of the program changes; blocks the calling greenlet alone.

    Args:
        on_change: Called once, with what has happened in words.
    """
    parent = os.getppid()
    reloader = _reloader()
    autoreload.autoreload_started.send(sender=reloader)
    ticks = reloader.tick()
    try:
        while os.getppid() == parent:
            try:
                next(ticks)
            except Exception:
                # Such as a directory that is removed while it is read. Later changes are still worth a reload.
                logger.exception("Looking for changes of the code failed; trying again")
                time.sleep(_AGAIN)
                ticks = reloader.tick()
    except SystemExit:
        on_change("Code has changed: reloading")
        return
    finally:
        reloader.stop()
    on_change("The process that reloads this one is gone")


def end_or_wait_for_change(error: BaseException) -> None:
    """After a reload, a program has failed, perhaps by the change: wait for the next one, then end to be reloaded.

    Args:
        error: What has ended the program.

    Raises:
        SystemExit: Always; the error itself where it says that the program has come to a good end.
    """
    if isinstance(error, SystemExit):
        if error.code in (None, 0, RELOAD):
            raise error
    else:
        traceback.print_exception(error)
    reloader = _reloader()
    for path in _files_of(error):
        reloader.extra_files.add(path)
    ticks = reloader.tick()
    # How the files are now is known before the user is asked to change them.
    next(ticks)
    print("Waiting for the code to change ...", file=sys.stderr, flush=True)  # noqa: T201  (for who changes it)
    for _ in ticks:
        pass


def _reloader() -> autoreload.BaseReloader:
    reloader = autoreload.get_reloader()
    for directory in _directories():
        # What could not be imported is no module; what it lies beside is.
        reloader.watch_dir(directory, "*.py")
    return reloader


def _directories() -> set[Path]:
    """Return the directories of the project's own code: of modules that are not installed with Python."""
    kinds = ("stdlib", "platstdlib", "purelib", "platlib")
    installed = {Path(sysconfig.get_path(kind)).resolve() for kind in kinds}
    files = {Path(file) for module in list(sys.modules.values()) if (file := getattr(module, "__file__", None))}
    found = {file.resolve().parent for file in files}
    if apps.ready:
        found |= {Path(config.path).resolve() for config in apps.get_app_configs()}
    return {each for each in found if not any(each.is_relative_to(path) for path in installed)}


def _files_of(error: BaseException | None) -> Iterable[Path]:
    """Return the files where an error has come from: those of a traceback, and of a syntax error."""
    while error is not None:
        for frame in traceback.extract_tb(error.__traceback__):
            yield Path(frame.filename)
        if isinstance(error, SyntaxError) and error.filename:
            yield Path(error.filename)
        error = error.__cause__ or error.__context__
