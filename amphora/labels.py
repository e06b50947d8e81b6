"""A client's label queues: create and remove, in their turn among the requests."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import gevent
from gevent.event import AsyncResult, Event

from amphora.exceptions import BrokerUnreachable
from amphora.links.publisher import Publisher
from amphora.links.topology import Topology, create_queue, delete_queue, durable_queue

__all__ = ["LabelQueues"]

logger = logging.getLogger(__name__)


class LabelQueues:
    """Creates and removes queues through a publisher.

    Args:
        publisher: Does it, in order with the messages.
        topology: Keeps the queues, so that they are created again on a broker that comes back empty.
        exchange: The request exchange, as an entity.
        timeout: Seconds to wait for the broker; None to wait until ``stopped`` is set.
        stopped: Set while the client is stopped.
        arguments: Arguments of every queue.
    """

    def __init__(
        self,
        publisher: Publisher,
        topology: Topology,
        exchange: Any,
        timeout: float | None,
        stopped: Event,
        arguments: Mapping[str, Any],
    ) -> None:
        self._publisher = publisher
        self._topology = topology
        self._exchange = exchange
        self._timeout = timeout
        self._stopped = stopped
        self._arguments = arguments

    def create(self, name: str, routing_key: str, *, x_expires: int | None, nowait: bool) -> None:
        """Declare a queue and bind it; see `AmqpRpcClient.create_new_request_queue`."""
        queue = durable_queue(name, self._exchange, routing_key, x_expires=x_expires, arguments=self._arguments)
        self._topology.add(queue)
        result = self._publisher.run(partial(create_queue, queue))
        self._finish(result, f"creating queue {name!r}", nowait, partial(self._topology.discard, name))

    def remove(self, name: str, *, nowait: bool) -> None:
        """Delete a queue; see `AmqpRpcClient.remove_request_queue`."""
        self._topology.discard(name)
        result = self._publisher.run(partial(delete_queue, name))
        self._finish(result, f"deleting queue {name!r}", nowait, None)

    def _finish(self, result: AsyncResult[Any], what: str, nowait: bool, undo: Callable[[], None] | None) -> None:
        def note(done: AsyncResult[Any]) -> None:
            if done.exception is not None:
                if undo is not None:
                    undo()
                if nowait:
                    logger.error("%s failed: %s", what, done.exception)

        result.rawlink(note)
        if nowait:
            return
        if self._timeout is None:
            gevent.wait([result, self._stopped], count=1)
        else:
            result.wait(self._timeout)
        if not result.ready():
            link = self._publisher.link
            limit = "" if self._timeout is None else f" within {self._timeout:g} s"
            raise BrokerUnreachable(f"{what} was not confirmed{limit} ({link.name}: {link.state})")
        result.get()
