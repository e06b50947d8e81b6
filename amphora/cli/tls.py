"""Options about TLS, which make the argument ``ssl=`` of clients and servers."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

import click
from click.core import ParameterSource

from amphora.cli.exit_codes import BadArguments
from amphora.cli.wording import KEY_PASSWORD_VARIABLE

__all__ = ["TlsOptions", "tls_options", "with_tls_options"]

Command = TypeVar("Command", bound=Callable[..., Any])

#: The key of ``ssl=`` that each option makes.
_KEYS = {"tls_ca": "ca_certs", "tls_cert": "certfile", "tls_key": "keyfile", "tls_server_name": "server_hostname"}

#: Keys that belong to one certificate.
_OWN = ("certfile", "keyfile", "password")

#: Where the context of a command line keeps what the options say.
_META = f"{__name__}.said"


@dataclass(frozen=True)
class TlsOptions:
    """What the command line and the environment say about TLS, as parts of the argument ``ssl=``.

    Args:
        given: Options of the command line: with them, brokers are spoken to in TLS, whatever their URLs say.
        default: Environment variables, for brokers that are spoken to in TLS anyway.
    """

    given: dict[str, Any] = field(repr=False)
    default: dict[str, Any] = field(repr=False)

    @classmethod
    def of(cls, context: click.Context) -> Self:
        """Read those of a command that has the options of `tls_options`.

        Raises:
            BadArguments: They do not fit together.
        """
        said: dict[str, tuple[str, bool]] = context.meta.get(_META, {})
        given = {key: value for key, (value, by_hand) in said.items() if by_hand}
        default = {key: value for key, (value, by_hand) in said.items() if not by_hand}
        if "certfile" not in said:
            if "keyfile" in given:
                raise BadArguments("--tls-key goes with --tls-cert, the certificate that it belongs to")
            default.pop("keyfile", None)
        elif os.environ.get(KEY_PASSWORD_VARIABLE):
            default["password"] = os.environ[KEY_PASSWORD_VARIABLE]
        if given.keys() & _OWN:
            # A certificate and its key are one thing, wherever the one and the other are said.
            given |= {key: default.pop(key) for key in _OWN if key in default}
        return cls(given, default)

    def for_brokers(self, broker_url: str | None) -> bool | dict[str, Any]:
        """Return the argument ``ssl=`` for a client of these brokers."""
        urls = [each.strip() for each in (broker_url or "").split(";") if each.strip()]
        if self.given or (urls and all(each.startswith("amqps:") for each in urls)):
            return {**self.default, **self.given} or False
        return False

    def arguments(self) -> list[str]:
        """Return the options of the command line again, for another process."""
        names = {key: f"--{name.replace('_', '-')}" for name, key in _KEYS.items()}
        return [f"{names[key]}={value}" for key, value in self.given.items() if key in names]


def tls_options() -> list[click.Option]:
    """Make the options, for `TlsOptions` to read; the command's function gets none of them."""
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
        context.meta.setdefault(_META, {})[_KEYS[name]] = value, by_hand
