"""The options that say which service and which broker is meant."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from amphora.cli.execution import load
from amphora.cli.tls_options import tls_options
from amphora.cli.values import count, seconds

__all__ = ["BROKER_VARIABLE", "ServiceCommand", "optional_service_options", "service_options"]

#: Name of the environment variable with the URL of the broker.
BROKER_VARIABLE = "AMPHORA_BROKER_URL"

#: Defaults of a client, without an import of all that its options are checked with. (A test compares them.)
_CONNECT_TIMEOUT, _MAX_RECEIVED_SIZE = 10.0, 16 * 1024 * 1024

#: Parameters that make the service.
_OF_SERVICE = ("broker", "fanout", "connect_timeout", "serializer", "signing_key_file", "max_received_size", "identify")

Command = TypeVar("Command", bound=Callable[..., Any])


class ServiceCommand(click.Command):
    """A command with the options of `TargetService`, which its help shows apart from its own."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        shared = {each.name for each in _options()}
        options = [each for each in self.get_params(ctx) if isinstance(each, click.Option)]
        for heading, wanted in (("Options", False), ("Broker and service", True)):
            records = [each.get_help_record(ctx) for each in options if (each.name in shared) is wanted]
            with formatter.section(heading):
                formatter.write_dl([each for each in records if each is not None])


def service_options(command: Command) -> Command:
    """Give a command the argument NS and the options of `TargetService`; it gets them as ``service``."""
    return click.argument("namespace", metavar="NS")(_with_options(command))


def optional_service_options(command: Command) -> Command:
    """Do the same where NS may be missing; its name is empty then."""
    return click.argument("namespace", metavar="[NS]", default="")(_with_options(command))


def _with_options(command: Command) -> Command:
    @functools.wraps(command)
    @click.pass_context
    def with_service(context: click.Context, /, namespace: str, verbose: bool, **values: Any) -> Any:  # noqa: ARG001
        others = {name: value for name, value in values.items() if name not in _OF_SERVICE}
        services = load("services")
        service = services.service_of(context)
        with services.amphora_logs(verbose=verbose):
            return command(service=service, **others)

    # click reads them backwards: a command's own options are shown before those that all of them have.
    own: list[click.Parameter] = getattr(command, "__click_params__", [])
    with_service.__click_params__ = [*reversed(_options()), *own]  # type: ignore[attr-defined]
    return with_service  # type: ignore[return-value]


def _options() -> list[click.Parameter]:
    key_file = click.Path(exists=True, dir_okay=False, path_type=Path)
    return [
        click.Option(
            ["--broker"],
            envvar=BROKER_VARIABLE,
            show_envvar=True,
            metavar="URL",
            help="amqp://user:password@host:port/vhost; defaults to the local broker.",
        ),
        *tls_options(),
        click.Option(["--fanout"], is_flag=True, help="NS is a fan-out service: every server runs each request."),
        click.Option(
            ["--connect-timeout"],
            type=seconds,
            default=_CONNECT_TIMEOUT,
            show_default=True,
            help="For the connection.",
        ),
        click.Option(
            ["--serializer"],
            type=click.Choice(["json", "msgpack"]),
            default="json",
            show_default=True,
            help="Of the requests.",
        ),
        click.Option(
            ["--signing-key-file"],
            type=key_file,
            envvar="AMPHORA_SIGNING_KEY_FILE",
            show_envvar=True,
            help="Holds the key of a service whose messages are signed.",
        ),
        click.Option(
            ["--max-received-size"],
            type=count,
            default=_MAX_RECEIVED_SIZE,
            show_default=True,
            metavar="BYTES",
            help="Of a message's body that is decoded.",
        ),
        click.Option(["--identify"], is_flag=True, help="Name the broker's user, for functions with require_user."),
        click.Option(["-v", "--verbose"], is_flag=True, help="Show what Amphora logs."),
    ]
