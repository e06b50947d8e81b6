"""A client's label queues: create and remove, in their turn among the requests."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import inf
from time import monotonic
from typing import Any

import gevent
from gevent.event import AsyncResult, Event

from amphora.exceptions import BrokerUnreachable
from amphora.links.own_queue import OwnQueue
from amphora.links.publisher import Publisher
from amphora.links.topology import Topology, create_queue, delete_queue
from amphora.logs.note_log import NoteLogger

__all__ = ["LabelQueues"]

logger = NoteLogger(__name__)

#: Seconds for which a removed queue counts as one that a new queue replaces; see `OwnQueue`.
_REMOVED = 1.0


class LabelQueues:
    """Creates and removes queues through a publisher.

    Args:
        publisher: Does it, in order with the messages.
        topology: Keeps the queues that were created, so that they are created again on a broker that comes back empty.
        new_queue: Gives the queue with this name, routing key and time to live, as an entity.
        timeout: Seconds to wait for the broker; None to wait until ``stopped`` is set.
        stopped: Set while the client is stopped.
    """

    def __init__(
        self,
        publisher: Publisher,
        topology: Topology,
        new_queue: Callable[[str, str, int | None], OwnQueue],
        timeout: float | None,
        stopped: Event,
    ) -> None:
        self._publisher = publisher
        self._topology = topology
        self._new_queue = new_queue
        self._timeout = timeout
        self._stopped = stopped
        # Since when queues are gone, by name.
        self._removed: dict[str, float] = {}

    def create(self, name: str, routing_key: str, *, x_expires: int | None, nowait: bool) -> None:
        """Declare a queue and bind it; see `AmqpRpcClient.create_new_request_queue`."""
        queue = self._new_queue(name, routing_key, x_expires)
        result = self._publisher.run(partial(self._create, queue), holds=(queue.exchange.name, routing_key))
        self._finish(result, f"creating queue {name!r}", nowait)

    def remove(self, name: str, *, nowait: bool) -> None:
        """Delete a queue; see `AmqpRpcClient.remove_request_queue`."""
        lane = next(
            ((each.exchange.name, each.routing_key) for each in self._topology.added if each.name == name), None
        )
        self._topology.discard(name)
        result = self._publisher.run(partial(self._remove, name), holds=lane)
        self._finish(result, f"deleting queue {name!r}", nowait)

    def _create(self, queue: Any, channel: Any) -> None:
        queue.replaces = monotonic() - self._removed.pop(queue.name, -inf) < _REMOVED
        # Added in its turn: one that is not created yet would look like one that was removed after a reconnect.
        create_queue(queue, channel)
        self._topology.add(queue)

    def _remove(self, name: str, channel: Any) -> None:
        # Again in its turn: it may have been created after `remove` was called.
        self._topology.discard(name)
        delete_queue(name, channel)
        now = monotonic()
        self._removed.pop(name, None)
        self._removed[name] = now
        # The oldest are the first.
        while now - self._removed[oldest := next(iter(self._removed))] >= _REMOVED:
            del self._removed[oldest]

    def _finish(self, result: AsyncResult[Any], what: str, nowait: bool) -> None:
        def note(done: AsyncResult[Any]) -> None:
            if done.exception is not None:
                logger.error("%s failed: %s", what, done.exception)

        if nowait:
            result.rawlink(note)
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
