"""What the clients and servers of a service share beyond an endpoint: who they are, and the queues of the service."""

from __future__ import annotations

from collections.abc import Sequence

from amphora.endpoint.endpoint import Endpoint
from amphora.links.queue_types import QueueTypes
from amphora.links.topology import QueueStatus, Topology
from amphora.options.settings import LinkSettings, OutboxLimits
from amphora.protocol.names import Names
from amphora.value_checks import seconds

__all__ = ["ServiceEndpoint"]


class ServiceEndpoint(Endpoint):
    """A client or a server of a service.

    Args:
        names: The service's AMQP names.
        uuid: Its identifier.
        role: See `Endpoint`, as for those below.
        settings: How to connect.
        limits: How much may wait to be published.
        publishes: What is declared before anything is published.
        consumes: What is declared before anything is consumed.
        acks_on_delivery: Whether a message is acknowledged once it was taken.
        types: Types of the queues.
        queues: Names of the queues that `queue_status` asks for where it is given no label.
    """

    def __init__(
        self,
        names: Names,
        uuid: str,
        role: str,
        settings: LinkSettings,
        limits: OutboxLimits,
        *,
        publishes: Topology,
        consumes: Topology,
        acks_on_delivery: bool,
        types: QueueTypes,
        queues: Sequence[str],
    ) -> None:
        self._names = names
        self._uuid = uuid
        self._queues = tuple(queues)
        self._publishes = publishes
        self._types = types
        super().__init__(
            names.namespace,
            role,
            settings,
            limits,
            publishes=publishes,
            consumes=consumes,
            acks_on_delivery=acks_on_delivery,
            types=types,
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._names.namespace!r} uuid={self._uuid!r}>"

    @property
    def uuid(self) -> str:
        """Identifier of this client or server."""
        return self._uuid

    @property
    def queue_type(self) -> str | None:
        """Type of the service's own queue on the broker, ``classic`` or ``quorum``; None before it was declared.

        A client with ``declare=False`` does not find it out, and a fan-out service has no such queue.
        """
        return self._types.found

    @property
    def adapted_queues(self) -> list[str]:
        """Names of existing queues that lack the type or the delivery limit that this release declares.

        They were declared by an earlier release, and stay in use; a WARNING says what follows.
        """
        return self._publishes.adapted

    def queue_status(self, *labels: str, timeout: float = 10.0) -> dict[str, QueueStatus | None]:
        """Ask the broker how many messages and consumers queues have.

        Args:
            labels: Labels of queues; without any, the service's own queue (a fan-out server's own; a fan-out client
                has none), and that of the dead letters where a ``delivery_limit`` says that there is one.
            timeout: Seconds to wait for the broker at most.

        Returns:
            By the queue's name on the broker; None for a queue that does not exist.

        Raises:
            BrokerUnreachable: The broker did not answer in time about one of the queues, whose node is down, say.
                `answered` has what it answered about the others, `unanswered` the names of these.
            BrokerError: The broker refuses.
            ValueError: The label gives the service's own queue.
        """
        names = [self._names.label_queue(label) for label in labels] or self._queues
        return self._queue_status(names, seconds("timeout", timeout, zero=True))
