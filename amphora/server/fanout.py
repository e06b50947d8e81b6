"""`AmqpRpcFanoutServer`: one of the servers of a service that all run each request."""

from __future__ import annotations

from amphora.server.server import AmqpRpcServer

__all__ = ["AmqpRpcFanoutServer"]


class AmqpRpcFanoutServer(AmqpRpcServer):
    """Runs the functions of a fan-out service: every connected server runs each request.

    A server that is disconnected for less than ``fanout_queue_expires`` misses nothing. A function that
    raises `IgnoreRequest` lets its server acknowledge the request and reply nothing.
    """

    _fanout = True
