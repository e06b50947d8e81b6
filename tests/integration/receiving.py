"""Requests in label queues, and receivers in the background."""

from typing import Any

import gevent

from amphora import AmqpRpcClient, AmqpRpcServer
from tests.support.eventually import wait_until


def send(client: AmqpRpcClient, label: str, count: int) -> list[Any]:
    """Send requests 0, 1, ... to a label's queue; they are in it when this returns."""
    results = [client.defer(routing_key=label, wait_publish=False).note(number) for number in range(count)]
    wait_until(lambda: client.stats()["outbox"] == 0)
    return results


def received(server: AmqpRpcServer, *args: Any, **options: Any) -> "gevent.Greenlet[..., Any]":
    """Receive in the background; get() gives what `receive_from_queue` returned or raised."""
    return gevent.spawn(_outcome, server, args, options)


def _outcome(server: AmqpRpcServer, args: Any, options: Any) -> Any:
    try:
        return server.receive_from_queue(*args, **options)
    except (gevent.Timeout, ValueError) as error:
        return error
