"""What the clients and servers of a service declare on the broker: the same, regardless of which comes first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from amphora.links.own_queue import OwnQueue
from amphora.links.queue_types import AUTO, CLASSIC, Form, QueueTypes
from amphora.links.topology import (
    Topology,
    Witness,
    dead_letter_queue,
    direct_exchange,
    durable_queue,
    fanout_exchange,
    queue_forms,
    request_forms,
)
from amphora.protocol.names import Names

__all__ = ["ServiceTopology"]


@dataclass(frozen=True)
class ServiceTopology:
    """The exchanges and queues of one service.

    Args:
        names: Their names.
        fanout: Whether every server gets every request.
        types: The types of the queues.
        limit: How many tries a request has; None for any number.
        declare: Whether the exchanges, and a client's request queue, are declared. Otherwise they are looked for.
    """

    names: Names
    fanout: bool
    types: QueueTypes
    limit: int | None
    declare: bool = True

    @property
    def request_exchange(self) -> Any:
        """Where requests are published."""
        kind = fanout_exchange if self.fanout else direct_exchange
        return kind(self.names.request_exchange, declared=self.declare)

    @property
    def response_exchange(self) -> Any:
        """Where replies are published."""
        return direct_exchange(self.names.response_exchange, declared=self.declare)

    @property
    def request_forms(self) -> list[Form]:
        """Arguments of the service's own queue, and of its label queues."""
        return request_forms(self.types.configured, self.limit, self.names.dead_letters)

    @property
    def request_queue(self) -> OwnQueue:
        """The queue that all servers share; of a service that is not fan-out."""
        return durable_queue(
            self.names.request_queue,
            self.request_exchange,
            "",
            types=self.types,
            forms=self.request_forms,
            leads=True,
        )

    def label_queue(self, name: str, routing_key: str, x_expires: int | None) -> OwnQueue:
        """Return the queue of a label; see `durable_queue` for the arguments."""
        return durable_queue(
            name,
            self.request_exchange,
            routing_key,
            x_expires=x_expires,
            types=self.types,
            forms=self.request_forms,
        )

    def server_queue(self, uuid: str, x_expires: int) -> OwnQueue:
        """Return the queue that a server takes its requests from.

        Args:
            uuid: Identifier of the server.
            x_expires: Milliseconds for which the queue of a fan-out server outlives its consumer.
        """
        if not self.fanout:
            return self.request_queue
        return self._temporary_queue(self.names.fanout_queue(uuid), self.request_exchange, "", x_expires)

    def response_queue(self, uuid: str, x_expires: int) -> OwnQueue:
        """Return the queue of a client's replies; see `server_queue` for the arguments."""
        return self._temporary_queue(self.names.response_queue(uuid), self.response_exchange, uuid, x_expires)

    def _temporary_queue(self, name: str, exchange: Any, routing_key: str, x_expires: int) -> OwnQueue:
        forms = queue_forms(self.types.configured)
        return durable_queue(name, exchange, routing_key, x_expires=x_expires, types=self.types, forms=forms)

    def for_replies(self) -> Topology:
        """Give what a server declares before it publishes: where replies go, and dead letters."""
        entities = [self.response_exchange]
        if self.limit is not None:
            # Broadcasts have no queue of the service's own.
            types = QueueTypes(CLASSIC) if self.fanout and self.types.configured == AUTO else self.types
            leader = None if self.fanout else self.request_queue
            entities.append(dead_letter_queue(self.names.dead_letters, types, leader))
        return Topology(entities)

    def for_requests(self, response_queue: Any, witness: Witness) -> Topology:
        """Give what a client declares before it publishes: where requests go, and the way back, which must be there."""
        if self.declare:
            # A queue is declared together with its exchange.
            requests = self.request_exchange if self.fanout else self.request_queue
            return Topology([requests, response_queue], witness=witness)
        expected = [self.response_exchange, self.request_exchange]
        if not self.fanout:
            expected.append(self.request_queue)
        return Topology([response_queue], expected=expected, witness=witness)

    def for_responses(self, response_queue: Any, witness: Witness) -> Topology:
        """Give what a client declares before it consumes."""
        expected = [] if self.declare else [self.response_exchange]
        return Topology([response_queue], expected=expected, witness=witness)
