"""What the options about TLS say, as the argument ``ssl=`` of clients and servers."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any, Self

import click

from amphora.cli.exit_codes import BadArguments
from amphora.cli.tls_options import KEYS, META
from amphora.cli.wording import KEY_PASSWORD_VARIABLE

__all__ = ["TlsOptions"]

#: Keys that belong to one certificate.
_OWN = ("certfile", "keyfile", "password")


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
        said: dict[str, tuple[str, bool]] = context.meta.get(META, {})
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
        names = {key: f"--{name.replace('_', '-')}" for name, key in KEYS.items()}
        return [f"{names[key]}={value}" for key, value in self.given.items() if key in names]
