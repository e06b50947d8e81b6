"""`AmqpRpcFanoutClient`: calls services whose every server runs each request."""

from __future__ import annotations

from amphora.client.client import AmqpRpcClient

__all__ = ["AmqpRpcFanoutClient"]


class AmqpRpcFanoutClient(AmqpRpcClient):
    """Calls the functions of a fan-out service: every connected server runs each request.

    The API is that of `AmqpRpcClient`. ``call`` returns the first reply that arrives; the others are
    dropped. `Unroutable` means that no server is connected.
    """

    _fanout = True
