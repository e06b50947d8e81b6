"""The group of all commands, which imports a command's module only when it is needed."""

from __future__ import annotations

import difflib
import errno
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import click
from click.shell_completion import CompletionItem

from amphora import __version__
from amphora.cli.exit_codes import BadArguments, Failed

__all__ = ["amphora", "run"]

#: Modules of `amphora.cli.commands`, and what the command in them does (here too, so that --help imports none of them).
_COMMANDS = {
    "bench": "Load a service and measure it.",
    "call": "Call a remote function and print its result.",
    "completion": "Print the completion for a shell.",
    "doctor": "Look for what is wrong, and say how to mend it.",
    "functions": "List the functions of a service.",
    "health": "Check whether servers can do their work, for probes and people.",
    "ping": "Ask all servers of a service whether they are there.",
    "purge-dead": "Delete dead letters.",
    "queues": "Show the queues of a service.",
    "requeue-dead": "Give dead letters back to their queues.",
    "serve": "Serve the functions of one or more servers.",
    "shell": "Open a Python prompt with a client.",
    "top": "Watch the servers of a service.",
}

_EPILOG = """\
\b
Exit statuses of all commands:
  0    done
  1    done in part, or the remote function raised
  2    wrong arguments; nothing was done
  3    no answer in time
  4    the broker cannot be reached, or refuses
  130  interrupted (Ctrl-C)

AMPHORA_BROKER_URL names the broker where --broker does not. Everybody on the machine can read command lines: a password
is better kept there. `amphora COMMAND --help` tells more of each command.
"""


class _ReaderGone(Exception):
    """The program that reads standard output has ended."""


@contextmanager
def _writing() -> Iterator[None]:
    """Take care of standard output that cannot be written to; click would end with a status that says something else.

    Raises:
        _ReaderGone: The program that reads it has ended, as in ``amphora functions math | head``.
        Failed: There is no room for it.
    """
    try:
        try:
            yield
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except BrokenPipeError:
        raise _ReaderGone from None
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO) or error.filename is not None:
            raise
        _write_nowhere()
        raise Failed(f"cannot write: {error.strerror}") from error


class _Commands(click.Group):
    """Knows the commands by name, and imports each when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  (click's signature)
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        module = import_module(f"amphora.cli.commands.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        # For shells that show it with the name.
        command.short_help = _COMMANDS[cmd_name]
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete the name of a command, without importing any of them."""
        named = [CompletionItem(name, help=text) for name, text in _COMMANDS.items() if name.startswith(incomplete)]
        return named + click.Command.shell_complete(self, ctx, incomplete)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Read the command line, and print what ``--help`` and ``--version`` ask for."""
        with _writing():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with _writing():
            return super().invoke(ctx)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name in _COMMANDS or ctx.resilient_parsing or not name[:1].isalpha():
            return super().resolve_command(ctx, args)
        near = " or ".join(f"'{each}'" for each in difflib.get_close_matches(name, _COMMANDS))
        raise click.UsageError(f"No such command '{name}'.{f' Did you mean {near}?' if near else ''}", ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(
    cls=_Commands,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="amphora", message="%(prog)s %(version)s")
def amphora() -> None:
    """Serve, call and look after RPC services over RabbitMQ."""


def run(arguments: list[str] | None = None, **options: Any) -> None:
    """Run the command line.

    Args:
        arguments: By default those of the process.
        options: Further options of `click.Command.main`.
    """
    try:
        status = amphora.main(arguments, prog_name="amphora", standalone_mode=False, **options)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        status = error.exit_code
    except click.UsageError as error:
        error.show()
        status = BadArguments.exit_code
    except click.ClickException as error:
        error.show()
        status = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        # click has ended the line with the ^C of the terminal.
        status = 130
    except _ReaderGone:
        _write_nowhere()
        # As a shell reports programs that SIGPIPE ends.
        status = 128 + signal.SIGPIPE
    sys.exit(status if isinstance(status, int) else 0)


def _write_nowhere() -> None:
    """Let what is left in the buffer of standard output be written at the end of the program."""
    try:
        descriptor = sys.stdout.fileno()
    except (AttributeError, OSError):
        # It is closed, or no file.
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
