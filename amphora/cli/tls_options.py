"""The options about TLS, which `amphora.cli.tls` reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.core import ParameterSource

__all__ = ["KEYS", "META", "tls_options", "with_tls_options"]

Command = TypeVar("Command", bound=Callable[..., Any])

#: The key of ``ssl=`` that each option makes.
KEYS = {"tls_ca": "ca_certs", "tls_cert": "certfile", "tls_key": "keyfile", "tls_server_name": "server_hostname"}

#: Where the context of a command line keeps what the options say.
META = f"{__name__}.said"


def tls_options() -> list[click.Option]:
    """Make the options, for `amphora.cli.tls.TlsOptions` to read; the command's function gets none of them."""
    file = click.Path(exists=True, dir_okay=False)
    return [
        _option("tls_ca", "Trust these authorities, instead of the system's.", type=file),
        _option("tls_cert", "Own certificate, for brokers that want one.", type=file),
        _option("tls_key", "Its private key, unless that is in --tls-cert.", type=file),
        _option("tls_server_name", "What the broker's certificate must bear, if not the URL's host.", metavar="NAME"),
    ]


def with_tls_options(command: Command) -> Command:
    """Give a command these options, as a decorator."""
    own: list[click.Parameter] = getattr(command, "__click_params__", [])
    # click reads them backwards.
    command.__click_params__ = [*own, *reversed(tls_options())]  # type: ignore[attr-defined]
    return command


def _option(name: str, text: str, **others: Any) -> click.Option:
    return click.Option(
        [f"--{name.replace('_', '-')}"],
        envvar=f"AMPHORA_{name.upper()}",
        show_envvar=True,
        expose_value=False,
        callback=_note,
        help=text,
        **others,
    )


def _note(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    name = parameter.name or ""
    if value:
        by_hand = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        context.meta.setdefault(META, {})[KEYS[name]] = value, by_hand
