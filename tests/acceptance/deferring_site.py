"""A WSGI application that defers a request to a broker that is not there."""

from collections.abc import Callable
from typing import Any

from amphora import make_client

_clients: list[Any] = []


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """Defer a request."""
    client = make_client("site", broker_url="amqp://127.0.0.1:1", exit_timeout=0.2)
    _clients.append(client)
    client.defer(wait_publish=False).add(1, 2)
    start_response("200 OK", [])
    return [b"deferred"]
