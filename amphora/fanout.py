"""`AmqpRpcFanoutServer` and `AmqpRpcFanoutClient`: services whose every server runs each request."""

from __future__ import annotations

from amphora.client import AmqpRpcClient
from amphora.server import AmqpRpcServer

__all__ = ["AmqpRpcFanoutClient", "AmqpRpcFanoutServer"]


class AmqpRpcFanoutServer(AmqpRpcServer):
    """Runs the functions of a fan-out service: every connected server runs each request.

    A server that is cut off for less than ``fanout_queue_expires`` misses nothing. A function that
    raises `IgnoreRequest` lets its server acknowledge the request and reply nothing.
    """

    _fanout = True


class AmqpRpcFanoutClient(AmqpRpcClient):
    """Calls the functions of a fan-out service: every connected server runs each request.

    The API is that of `AmqpRpcClient`. ``call`` returns the first reply that arrives; the others are
    dropped. `Unroutable` means that no server is connected.
    """

    _fanout = True
