"""TLS contexts from the ``ssl=`` option."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gevent import ssl

__all__ = ["tls_context"]


def tls_context(
    option: bool | ssl.SSLContext | Mapping[str, Any],
) -> tuple[ssl.SSLContext, str | None] | None:
    """Give the TLS context and server name for an ``ssl=`` option; certificates are verified.

    Raises:
        OSError: A certificate file cannot be read.
        TypeError: The context is not gevent's: it was made before monkey-patching.
    """
    if option is False:
        return None
    if isinstance(option, Mapping):
        context = ssl.create_default_context(cafile=option.get("ca_certs"))
        if option.get("certfile"):
            context.load_cert_chain(option["certfile"], option.get("keyfile"), option.get("password"))
        if not option.get("verify", True):
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif not option.get("check_hostname", True):
            context.check_hostname = False
        return context, option.get("server_hostname")
    if option is True:
        return ssl.create_default_context(), None
    if not isinstance(option, ssl.SSLContext):
        raise TypeError("the SSLContext is not gevent's: make it after gevent.monkey.patch_all(), or give ssl a dict")
    return option, None
