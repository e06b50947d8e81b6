"""Exchanges, queues and bindings of a service as Kombu entities."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kombu import Exchange, Queue

__all__ = [
    "Topology",
    "bind_queue",
    "create_queue",
    "delete_queue",
    "direct_exchange",
    "durable_queue",
    "fanout_exchange",
]


#: Queues that are declared in one round trip.
_AT_A_TIME = 200


def direct_exchange(name: str) -> Exchange:
    """Give a durable direct exchange."""
    return Exchange(name, type="direct", durable=True, auto_delete=False)


def fanout_exchange(name: str) -> Exchange:
    """Give a durable fan-out exchange."""
    return Exchange(name, type="fanout", durable=True, auto_delete=False)


def durable_queue(
    name: str, exchange: Exchange, routing_key: str, *, x_expires: int | None = None, queue_type: str = "classic"
) -> Queue:
    """Give a durable queue with one binding.

    Args:
        name: Name of the queue.
        exchange: Exchange that it is bound to.
        routing_key: Routing key of the binding.
        x_expires: Milliseconds without a consumer after which the broker deletes the queue.
        queue_type: ``"quorum"`` for a queue that is replicated in the cluster; ``"classic"`` asks for nothing, as
            0.1.3 did, for the broker takes the two declarations for different ones.
    """
    arguments: dict[str, Any] = {}
    if x_expires is not None:
        arguments["x-expires"] = x_expires
    if queue_type != "classic":
        arguments["x-queue-type"] = queue_type
    return Queue(
        name,
        exchange,
        routing_key=routing_key,
        durable=True,
        auto_delete=False,
        queue_arguments=arguments or None,
    )


def create_queue(queue: Queue, channel: Any) -> None:
    """Declare a queue with its exchange and binding."""
    queue(channel).declare()


def delete_queue(name: str, channel: Any) -> None:
    """Delete a queue with everything in it; no error if there is none."""
    channel.queue_delete(name)


def bind_queue(name: str, exchange: str, routing_key: str, channel: Any) -> None:
    """Bind a queue that somebody else has declared.

    Raises:
        ChannelError: There is no such queue.
    """
    channel.queue_declare(name, passive=True)
    channel.queue_bind(name, exchange, routing_key)


class Topology:
    """What an endpoint needs on the broker; declared again on every new connection.

    Args:
        entities: Exchanges, and queues with their exchange and binding.
    """

    def __init__(self, entities: Iterable[Exchange | Queue]) -> None:
        self._fixed = tuple(entities)
        self._added: dict[str, Queue] = {}

    def add(self, queue: Queue) -> None:
        """Declare this queue too from the next connection on."""
        self._added[queue.name] = queue

    def discard(self, name: str) -> None:
        """Do not declare that queue any more."""
        self._added.pop(name, None)

    @property
    def added(self) -> tuple[Queue, ...]:
        """The queues that were added."""
        return tuple(self._added.values())

    def declare(self, channel: Any) -> None:
        """Declare the fixed part; the channel's synchronous methods wait for the broker.

        Raises:
            ChannelError: An entity of that name exists with other properties, or the user lacks a
                permission.
        """
        for entity in self._fixed:
            entity(channel).declare()

    def declare_added(self, channel: Any) -> None:
        """Declare the queues that were added, many in one round trip.

        Raises:
            ChannelError: The broker refuses one of them; it does not say which.
        """
        queues = self.added
        for start in range(0, len(queues), _AT_A_TIME):
            for queue in queues[start : start + _AT_A_TIME]:
                bound = queue(channel)
                bound.queue_declare(nowait=True)
                bound.queue_bind(nowait=True)
            # Any synchronous method will do: its answer says that those before it went well.
            channel.basic_qos(0, 0, False)
