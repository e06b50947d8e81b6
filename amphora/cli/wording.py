"""What errors advise, in the words of the command line."""

from __future__ import annotations

from amphora import BrokerError
from amphora.options.advice import AUTHORITIES, KEY_PASSWORD, OWN_CERTIFICATE, SERVER_NAME, USE_TLS

__all__ = ["KEY_PASSWORD_VARIABLE", "with_options_named"]

#: Name of the environment variable with the password of an encrypted key; no option, for everybody on the machine can
#: read those.
KEY_PASSWORD_VARIABLE = "AMPHORA_TLS_KEY_PASSWORD"  # noqa: S105  (no password)

#: What does on the command line what an error advises programs to do, by its ``advice``.
_INSTEAD = {
    AUTHORITIES: "--tls-ca FILE",
    OWN_CERTIFICATE: "--tls-cert FILE --tls-key FILE",
    SERVER_NAME: "--tls-server-name NAME",
    KEY_PASSWORD: f"set {KEY_PASSWORD_VARIABLE}",
    USE_TLS: "begin the URL with amqps://",
}


def with_options_named(error: Exception) -> str:
    """Return an error's text, in which what it advises is named as an option of the command line."""
    text, advice = str(error), error.advice if isinstance(error, BrokerError) else None
    return text if advice is None else text.replace(advice, _INSTEAD.get(advice, advice))
