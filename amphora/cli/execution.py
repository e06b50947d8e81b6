"""Imports what a command needs to run when it runs, so that help and the completion of a shell need none of it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any, TypeVar

__all__ = ["executed_by", "load"]

Command = TypeVar("Command", bound=Callable[..., Any])


def load(name: str) -> ModuleType:
    """Return a module of `amphora.cli`, in a process that gevent has patched."""
    # (A word of the arguments may be completed in a process that is not patched yet.)
    import_module("amphora.cli.patching").patch()
    return import_module(f"amphora.cli.{name}")


def executed_by(name: str) -> Callable[[Command], Command]:
    """Let the function ``run`` of a module of `amphora.cli` do what a command is to do, as a decorator."""

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def execute(*args: Any, **values: Any) -> Any:
            return load(name).run(*args, **values)

        return execute  # type: ignore[return-value]

    return decorate
