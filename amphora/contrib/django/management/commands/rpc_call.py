"""``manage.py rpc_call``: call a remote function from a terminal or a script."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter
from collections.abc import Sequence
from contextlib import ExitStack
from time import monotonic
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser, DjangoHelpFormatter
from django.core.serializers.json import DjangoJSONEncoder
from gevent import get_hub

from amphora import (
    AmqpRpcException,
    Backlogged,
    BrokerError,
    NoResult,
    Unroutable,
    parse_keyword_arguments,
    parse_value,
)
from amphora.contrib.django.endpoints import clients, servers
from amphora.contrib.django.patching import is_patched, not_patched, run_again_patched
from amphora.contrib.django.streams import exiting_on_broken_pipe, open_closed_streams
from amphora.logs.remote_text import printable_json, printable_lines

_NOTES = """\
each VALUE is JSON, or else text: 42 is a number, '"42"' is text, and so is O-42

exit status:
  0    the function has returned; its result is on standard output, as JSON
  1    the function raised, does not exist, or was given up: the error is on standard error
  2    wrong arguments or settings; nothing was sent
  3    no reply in time; the function may run, or may have run
  4    the broker cannot be reached or refuses, or no queue takes the request; the function does not run
  130  interrupted (Ctrl-C)
"""


class _HelpFormatter(RawDescriptionHelpFormatter, DjangoHelpFormatter):
    """Django's, which leaves the notes as they are laid out."""


class RemoteError(CommandError):
    """The function raised, or the server would not run it."""


class NoReply(CommandError):
    """No reply came in time."""


class NotPublished(CommandError):
    """The request did not reach a queue."""


class Command(BaseCommand):
    """Calls one remote function, and prints its result."""

    help = "Call a remote function and print its result as JSON."
    requires_system_checks: Sequence[str] = ()

    def __init__(self, *args: Any, **options: Any) -> None:
        open_closed_streams()
        super().__init__(*args, **options)

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Let the help end with the notes above."""
        return super().create_parser(prog_name, subcommand, epilog=_NOTES, formatter_class=_HelpFormatter, **kwargs)

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the command's arguments."""
        parser.add_argument("name", help="name of the remote function, such as orders.total")
        parser.add_argument(
            "values", nargs="*", metavar="VALUE", help="arguments; after -- where one begins with a hyphen"
        )
        parser.add_argument(
            "--kw", action="append", default=[], metavar="NAME=VALUE", help="a keyword argument; as often as needed"
        )
        parser.add_argument("--alias", default="default", help="alias of the setting AMPHORA (default: %(default)s)")
        parser.add_argument(
            "--routing-key", metavar="KEY", help="call the server that receives from this label's queue"
        )
        parser.add_argument(
            "--cast", action="store_true", help="return when the broker has the request; servers send no reply"
        )
        parser.add_argument(
            "--timeout", type=_seconds, metavar="SECONDS", help="for the whole call (default: TIMEOUT of the settings)"
        )

    def run_from_argv(self, argv: list[str]) -> None:
        """Run the command in a process that is patched from its first line: this one, again."""
        # A mistake in the arguments, or --help, ends here.
        self._called_from_command_line = True
        self.create_parser(argv[0], argv[1]).parse_args(argv[2:])
        try:
            run_again_patched()
        except CommandError as error:
            self.stderr.write(f"{type(error).__name__}: {error}")
            sys.exit(2)
        hub = get_hub()
        # It ends the command, and is nothing to print a report of.
        hub.NOT_ERROR = (*hub.NOT_ERROR, KeyboardInterrupt)
        with exiting_on_broken_pipe():
            super().run_from_argv(argv)

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ARG002  (Django's signature)
        """Call, and print the result."""
        if not is_patched():
            raise not_patched("call it as a command, not with call_command, or patch")
        try:
            keywords = parse_keyword_arguments(options["kw"])
            values = [parse_value(text) for text in options["values"]]
            result = self._call(options, values, keywords)
        except (ImproperlyConfigured, TypeError, ValueError) as error:
            raise CommandError(str(error), returncode=2) from error
        except NoResult as error:
            raise NoReply(str(error), returncode=3) from error
        except (Backlogged, BrokerError, Unroutable) as error:
            raise NotPublished(str(error), returncode=4) from error
        except AmqpRpcException as error:
            raise RemoteError(_with_traceback(error), returncode=1) from error
        except KeyboardInterrupt:
            sys.exit(130)
        if options["cast"]:
            return
        self.stdout.write(_json(result, pretty=self.stdout.isatty()))

    def _call(self, options: dict[str, Any], values: list[Any], keywords: dict[str, Any]) -> Any:
        alias = options["alias"]
        client = clients[alias]
        given = client.settings.client_options
        timeout = options["timeout"]
        if timeout is None:
            timeout = given.get("timeout", 60)
        deadline = None if timeout is None else monotonic() + timeout
        local = str(given.get("broker_url")).startswith("memory:")
        with ExitStack() as stack:
            if local:
                # It reaches no other server.
                stack.enter_context(servers[alias])
            stack.enter_context(client)
            if not client.wait_connected(timeout):
                raise NotPublished(f"{client.broker} is not reachable (waited for {timeout:g} s)", returncode=4)
            call = {"function_name": options["name"], "timeout": _remaining(deadline)}
            if options["routing_key"] is not None:
                call["routing_key"] = options["routing_key"]
            # A server in this process ends with it: its function would not run.
            caller = client.cast if options["cast"] and not local else client.call
            return caller(**call)(*values, **keywords)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value < float("inf"):
        raise ArgumentTypeError(f"a number of seconds is wanted, not {text!r}")
    return value


def _remaining(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - monotonic())


def _with_traceback(error: AmqpRpcException) -> str:
    text = str(error) or type(error).__name__
    remote = getattr(error, "remote_traceback", None)
    return printable_lines(f"{text}\n\n{remote}".rstrip() if remote else text)


def _json(value: Any, *, pretty: bool) -> str:
    indent = 2 if pretty else None
    text = printable_json(json.dumps(value, cls=_ResultEncoder, indent=indent, ensure_ascii=False))
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return json.dumps(value, cls=_ResultEncoder, indent=indent)
    return text


class _ResultEncoder(DjangoJSONEncoder):
    """Shows what JSON has no form for, such as bytes from MessagePack, as Python writes it."""

    def default(self, o: Any) -> Any:
        try:
            return super().default(o)
        except TypeError:
            return repr(o)
