"""Runs the process again under gevent's monkey-patching, where manage.py has not patched."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType

from django.core.management.base import CommandError
from gevent import monkey

from amphora.contrib.django import patched
from amphora.contrib.django.late_patching import OPENTELEMETRY_SWITCH, let_opentelemetry_patch
from amphora.contrib.django.streams import open_closed_streams

__all__ = ["is_patched", "not_patched", "patched_command", "prepare_environment", "run_again_patched"]

#: Holds the id of the process that has run itself again: one that still is not patched must not do so forever.
_GUARD = "AMPHORA_PATCHED_PID"

#: What must be patched for servers, and for drivers of databases that wait in Python.
_NEEDED = ("socket", "select", "ssl", "threading", "time")


def is_patched() -> bool:
    """Return whether gevent has patched what servers and handlers wait with, and early enough for psycopg."""
    return all(monkey.is_module_patched(name) for name in _NEEDED) and not _waits_in_c()


def _waits_in_c() -> bool:
    """Return whether psycopg 3 was imported before the patching: it has chosen then to wait outside of Python."""
    waiting = sys.modules.get("psycopg.waiting")
    return waiting is not None and not isinstance(waiting.wait, FunctionType)


def run_again_patched() -> None:
    """Put this program again, patched from its first line, in the place of the running one; return if it is patched.

    The process stays the same one: its id, its terminal, its environment. What was set up so far is gone.

    Raises:
        CommandError: It cannot be run again; the text says what to do.
    """
    if is_patched():
        return
    if os.environ.get(_GUARD) == str(os.getpid()):
        raise not_patched("although it was run again under gevent's monkey-patching, that has no effect")
    os.environ[_GUARD] = str(os.getpid())
    prepare_environment()
    command = patched_command()
    open_closed_streams()
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(command[0], command)  # noqa: S606  (the command line that this process was started with)


def prepare_environment() -> None:
    """Let what starts before the first line of the program that is run again be patched too."""
    if let_opentelemetry_patch():
        # For that program, and not for those that it starts itself.
        os.environ[patched.UNSET] = OPENTELEMETRY_SWITCH


def patched_command() -> list[str]:
    """Return the command line that runs this program again, patched, with the options of the interpreter.

    Raises:
        CommandError: The program came from nowhere where it can be read again.
    """
    program = _program(sys.orig_argv)
    target = program.target
    if program.kind == "script":
        # Absolute, as the program may have changed its directory; what is in a zip file is no file.
        file = getattr(sys.modules["__main__"], "__file__", None)
        target = file if file is not None and Path(file).is_file() else str(Path(target).absolute())
    if not sys.executable:
        raise not_patched("Python does not know its own executable")
    return [sys.executable, *program.options, patched.__file__, program.kind, target, *program.arguments]


@dataclass(frozen=True)
class _Program:
    """A command line of Python.

    Args:
        options: Options of the interpreter.
        kind: "script", "module" or "code".
        target: Path, name or text of the program.
        arguments: What it takes.
    """

    options: tuple[str, ...]
    kind: str
    target: str
    arguments: tuple[str, ...]


def _program(command: Sequence[str]) -> _Program:
    """Read a command line (`sys.orig_argv`) as the interpreter does.

    Raises:
        CommandError: It names no program: Python reads it from a terminal or a pipe.
    """
    position = 1
    while position < len(command):
        word = command[position]
        if word == "--":
            return _script(command, position, position + 1)
        if word == "-" or not word.startswith("-"):
            return _script(command, position, position)
        if word.startswith("--"):
            position += 2 if word == "--check-hash-based-pycs" else 1
            continue
        # Letters stand together (-uB), and a value stands behind its letter or in the next word.
        at = next((at for at, letter in enumerate(word) if letter in "cmWX"), None)
        if at is None:
            position += 1
        elif word[at] in "WX":
            position += 1 if word[at + 1 :] else 2
        else:
            options = (*command[1:position], *([word[:at]] if at > 1 else []))
            target, *arguments = (
                [word[at + 1 :], *command[position + 1 :]] if word[at + 1 :] else command[position + 1 :]
            )
            return _Program(options, "module" if word[at] == "m" else "code", target, tuple(arguments))
    return _script(command, len(command), len(command))


def _script(command: Sequence[str], options_end: int, position: int) -> _Program:
    if position >= len(command) or command[position] == "-":
        raise not_patched("Python reads it from a terminal or a pipe, so that it cannot be run again")
    return _Program(tuple(command[1:options_end]), "script", command[position], tuple(command[position + 1 :]))


def not_patched(why: str) -> CommandError:
    """Make the error for a program that cannot be patched.

    Args:
        why: The second half of a sentence.
    """
    return CommandError(
        f"This command needs gevent's monkey-patching, and this program is not patched: {why}. Add\n\n"
        "    from gevent import monkey; monkey.patch_all()\n\n"
        "as the very first line of the program (manage.py), before any other import."
    )
