"""What the texts of errors advise to set, as they name it.

Errors have it as `amphora.BrokerError.advice` too, so that the command line can name its own option instead.
"""

from __future__ import annotations

from typing import Final

__all__ = ["AUTHORITIES", "KEY_PASSWORD", "OWN_CERTIFICATE", "SERVER_NAME", "USE_TLS"]

AUTHORITIES: Final = "ssl={'ca_certs': ...}"
OWN_CERTIFICATE: Final = "ssl={'certfile': ..., 'keyfile': ...}"
SERVER_NAME: Final = "ssl={'server_hostname': ...}"
KEY_PASSWORD: Final = "give ssl={'password': ...} too"  # noqa: S105  (no password)
USE_TLS: Final = "begin the URL with amqps://, or give ssl="
