"""How a command ends when it fails: an exit status, and a message on standard error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from amphora import AmqpRpcException, Backlogged, BrokerError, NoResult, Unroutable
from amphora.cli.advice import with_options_named

__all__ = ["BadArguments", "Failed", "NoAnswer", "NotSent", "errors_end_the_command"]


class Failed(click.ClickException):
    """Done in part, or the remote function raised."""

    exit_code = 1


class BadArguments(click.ClickException):
    """Wrong arguments; nothing was done."""

    exit_code = 2


class NoAnswer(click.ClickException):
    """No answer came in time."""

    exit_code = 3


class NotSent(click.ClickException):
    """The broker cannot be reached, or refuses."""

    exit_code = 4

    def __init__(self, message: str) -> None:
        super().__init__(with_options_named(message))


@contextmanager
def errors_end_the_command() -> Iterator[None]:
    """Turn Amphora's exceptions into the ends of a command."""
    try:
        yield
    except NoResult as error:
        raise NoAnswer(str(error)) from error
    except (Backlogged, BrokerError, Unroutable) as error:
        raise NotSent(str(error)) from error
    except AmqpRpcException as error:
        raise Failed(_with_traceback(error)) from error


def _with_traceback(error: AmqpRpcException) -> str:
    text = str(error) or type(error).__name__
    remote = getattr(error, "remote_traceback", None)
    return f"{text}\n\n{remote}".rstrip() if remote else text
