"""What errors advise, in the words of the command line."""

from __future__ import annotations

__all__ = ["KEY_PASSWORD_VARIABLE", "with_options_named"]

#: Name of the environment variable with the password of an encrypted key; no option, for everybody on the machine can
#: read those.
KEY_PASSWORD_VARIABLE = "AMPHORA_TLS_KEY_PASSWORD"  # noqa: S105  (no password)

#: What programs do, and what does the same on the command line.
_INSTEAD = {
    "ssl={'ca_certs': ...}": "--tls-ca FILE",
    "ssl={'certfile': ..., 'keyfile': ...}": "--tls-cert FILE --tls-key FILE",
    "ssl={'server_hostname': ...}": "--tls-server-name NAME",
    "give ssl={'password': ...} too": f"set {KEY_PASSWORD_VARIABLE}",
    "begin the URL with amqps://, or give ssl=": "begin the URL with amqps://",
}


def with_options_named(text: str) -> str:
    """Return an error's text with options in place of arguments for programs."""
    for argument, option in _INSTEAD.items():
        text = text.replace(argument, option)
    return text
