"""``amphora shell``: a Python prompt with a client."""

from __future__ import annotations

import code
import os
import rlcompleter
import signal
import sys
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from textwrap import indent
from types import FrameType
from typing import Any

import gevent

import amphora
from amphora import AmqpRpcClient, AmqpRpcException, RemoteFunction
from amphora.cli.function_names import NEEDS_NO_QUOTES
from amphora.cli.output import print_line
from amphora.cli.services import TargetService
from amphora.logs.remote_text import printable, printable_lines

__all__ = ["run"]

#: None in a Python that was built without it, which has no completion.
readline: Any = import_module("readline") if find_spec("readline") else None


#: What stands before the name of a remote function.
_CALLERS = ("client.call.", "client.defer.", "client.cast.")


def run(service: TargetService, timeout: float, discover: float) -> None:
    """Open a Python prompt with `client`, a client of the service NS."""
    with service.connected(timeout=timeout) as client:
        known: dict[str, RemoteFunction] = client.inspect.functions(timeout=discover)

        def functions() -> None:
            """Ask the servers for their functions, and show them."""
            known.clear()
            known.update(client.inspect.functions(timeout=discover))
            for each in known.values():
                print_line(f"{each.name}{each.signature}")

        names: dict[str, Any] = {name: getattr(amphora, name) for name in amphora.__all__ if name[0].isalpha()}
        names |= {"client": client, "functions": functions, "gevent": gevent, "__name__": "__console__"}
        if readline is not None and sys.stdin.isatty():
            readline.set_completer(_Completer(names, known).complete)
            readline.parse_and_bind("tab: complete")
        _Prompt(names).interact(banner=_banner(client, known), exitmsg="")


class _Prompt(code.InteractiveConsole):
    """Waits for a line in a thread, so that the client's greenlets go on meanwhile."""

    def __init__(self, names: dict[str, Any]) -> None:
        super().__init__(names)
        if not sys.stdin.isatty():
            # A script: its lines need no prompts.
            sys.ps1 = sys.ps2 = ""

    def raw_input(self, prompt: str = "") -> str:
        """Read a line."""
        before = signal.signal(signal.SIGINT, _hint)
        try:
            line: str | None = gevent.get_hub().threadpool.apply(_line, (prompt,))
        finally:
            signal.signal(signal.SIGINT, before)
        if line is None:
            raise EOFError
        return line

    def write(self, data: str) -> None:
        """Write what the prompt has to say, such as tracebacks, which have texts of other programs in them."""
        super().write(printable_lines(data))

    def showtraceback(self) -> None:
        """Show where an error comes from, unless that is on the other side of the broker."""
        error = sys.exc_info()[1]
        if isinstance(error, KeyboardInterrupt):
            self.write("\nKeyboardInterrupt\n")
        elif isinstance(error, AmqpRpcException):
            remote = getattr(error, "remote_traceback", None)
            # The error's text in one line, and the remote traceback indented: neither can pass for something else.
            name = f"{type(error).__module__}.{type(error).__qualname__}"
            lines = [indent(remote.rstrip(), "  ")] if remote else []
            self.write("\n".join([*lines, f"{name}: {printable(error)}\n"]))
        else:
            super().showtraceback()


class _Completer:
    """Completes remote functions with plain names after `client.call.`, and the rest as Python does.

    Args:
        names: Of the prompt.
        functions: Remote functions, by name.
    """

    def __init__(self, names: dict[str, Any], functions: Mapping[str, RemoteFunction]) -> None:
        self._python = rlcompleter.Completer(names)
        self._functions = functions

    def complete(self, text: str, state: int) -> str | None:
        """Return the completion of that number; None where there are no more."""
        for caller in _CALLERS:
            if text.startswith(caller):
                # What is completed is a part of the line that Python runs.
                plain = [name for name in self._functions if NEEDS_NO_QUOTES.fullmatch(name) and "-" not in name]
                found = [f"{caller}{name}(" for name in plain if f"{caller}{name}".startswith(text)]
                return found[state] if state < len(found) else None
        return self._python.complete(text, state)


def _banner(client: AmqpRpcClient, known: Mapping[str, RemoteFunction]) -> str:
    count = f"{len(known)} function{'s' * (len(known) != 1)}" if known else "no server has told its functions"
    example = printable(next(iter(known), "function"))
    return (
        f"Amphora {amphora.__version__}, service {client.service_name!r} on {client.broker}: {count}.\n"
        f"client.call.{example}(...) calls one, functions() lists them, Ctrl-D ends."
    )


def _line(prompt: str) -> str | None:
    """Read a line; None at the end (an exception would be printed by the thread)."""
    try:
        return input(prompt)
    except EOFError:
        return None


def _hint(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  (as `signal` calls it)
    os.write(2, b"\n(Ctrl-D ends the shell)\n")
