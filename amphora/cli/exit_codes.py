"""How a command ends when it fails: an exit status, and a message on standard error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from textwrap import indent

import click

from amphora import AmqpRpcException, Backlogged, BrokerError, NoResult, Unroutable
from amphora.cli.wording import with_options_named
from amphora.logs.remote_text import printable, printable_lines

__all__ = ["BadArguments", "Failed", "NoAnswer", "NotSent", "errors_end_the_command"]


class _End(click.ClickException):
    """The end of a command; its message may have texts of other programs in it, and several lines."""

    def __init__(self, message: str) -> None:
        super().__init__(printable_lines(message))


class Failed(_End):
    """Done in part, or the remote function raised."""

    exit_code = 1


class BadArguments(_End):
    """Wrong arguments; nothing was done."""

    exit_code = 2


class NoAnswer(_End):
    """No answer came in time."""

    exit_code = 3


class NotSent(_End):
    """The broker cannot be reached, or refuses."""

    exit_code = 4


@contextmanager
def errors_end_the_command() -> Iterator[None]:
    """Turn Amphora's exceptions into the ends of a command."""
    try:
        yield
    except NoResult as error:
        raise NoAnswer(printable(error)) from error
    except (Backlogged, BrokerError, Unroutable) as error:
        raise NotSent(printable(with_options_named(error))) from error
    except AmqpRpcException as error:
        raise Failed(_with_traceback(error)) from error


def _with_traceback(error: AmqpRpcException) -> str:
    # In one line, and the remote traceback indented: no line of it can pass for one of this command's.
    text = printable(error) or type(error).__name__
    remote = getattr(error, "remote_traceback", None)
    return f"{text}\n\n{indent(printable_lines(remote), '  ')}".rstrip() if remote else text
