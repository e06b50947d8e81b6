"""TLS contexts from the ``ssl=`` option."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any, NoReturn

from amphora.exceptions import BrokerUnreachable
from amphora.options.advice import KEY_PASSWORD
from amphora.options.settings import SslOption

__all__ = ["tls_context"]


def tls_context(option: SslOption, host: str) -> tuple[ssl.SSLContext, str]:
    """Return the TLS context and the server name to verify; certificates are verified unless told otherwise.

    The files that the option names are read each time: a certificate that was renewed is used by the next
    connection.

    Args:
        option: The ``ssl=`` argument; True or False for the system's certificates.
        host: Host name of the broker, which its certificate must bear unless the option names another.

    Raises:
        BrokerUnreachable: A file cannot be read, or holds no certificate or key.
    """
    if isinstance(option, bool):
        return ssl.create_default_context(), host
    if not isinstance(option, Mapping):
        return option, host
    context = ssl.create_default_context(cafile=_authorities(option))
    if option.get("certfile"):
        _load_own_certificate(context, option)
    if not option.get("verify", True):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif not option.get("check_hostname", True):
        context.check_hostname = False
    return context, option.get("server_hostname") or host


def _authorities(option: Mapping[str, Any]) -> Any:
    """Return the file of certificate authorities, once it is seen to hold some."""
    path = option.get("ca_certs")
    if path:
        try:
            ssl.create_default_context(cafile=path)
        except OSError as error:
            raise BrokerUnreachable(
                f"ssl: ca_certs {str(path)!r} cannot be used ({_why(error)}): it must be a file with the certificates "
                "of the authorities that sign the broker's, in PEM format",
                tls=True,
            ) from error
    return path


def _load_own_certificate(context: ssl.SSLContext, option: Mapping[str, Any]) -> None:
    # Without a password of our own OpenSSL would ask for one at the terminal, and wait.
    password = option.get("password") or _no_password
    try:
        context.load_cert_chain(option["certfile"], option.get("keyfile"), password)
    except (OSError, _PasswordMissing) as error:
        keyfile = option.get("keyfile") or option["certfile"]
        raise BrokerUnreachable(
            f"ssl: certfile {str(option['certfile'])!r} with keyfile {str(keyfile)!r} cannot be used ({_why(error)}): "
            "they must be a certificate (with those between it and its authority) and its private key, in PEM format",
            tls=True,
            advice=KEY_PASSWORD if isinstance(error, _PasswordMissing) else None,
        ) from error


class _PasswordMissing(Exception):
    """The private key is encrypted."""


def _no_password() -> NoReturn:
    raise _PasswordMissing(f"the key is encrypted: {KEY_PASSWORD}")


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        # OpenSSL says no more of a wrong password than that something about the file was wrong.
        mismatch = error.reason == "KEY_VALUES_MISMATCH"
        return "the key is not that of the certificate" if mismatch else "no PEM file, or a wrong password"
    return getattr(error, "strerror", None) or str(error)
