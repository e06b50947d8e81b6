"""Exchanges, queues and bindings of a service as Kombu entities."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple
from uuid import uuid4

from amqp import Message
from amqp.exceptions import ChannelError
from kombu import Exchange, Queue

from amphora.links.control import is_not_found

__all__ = [
    "QueueStatus",
    "Topology",
    "Witness",
    "ask_for_default_exchange",
    "bind_again",
    "bind_queue",
    "control_queue",
    "create_queue",
    "dead_letter_queue",
    "delete_queue",
    "direct_exchange",
    "durable_queue",
    "exists",
    "fanout_exchange",
    "look_for",
    "open_counter",
    "purge_queue",
    "queue_arguments",
    "queue_status",
    "request_arguments",
]


#: Queues that are declared in one round trip.
_AT_A_TIME = 200

#: The delivery limit of a quorum queue itself, as a multiple of the one that servers enforce.
_BROKERS_LIMIT = 10


def direct_exchange(name: str, *, declared: bool = True) -> Exchange:
    """Give a durable direct exchange; ``declared`` says whether it is declared together with its queues."""
    return Exchange(name, type="direct", durable=True, auto_delete=False, no_declare=not declared)


def fanout_exchange(name: str, *, declared: bool = True) -> Exchange:
    """Give a durable fan-out exchange; see `direct_exchange`."""
    return Exchange(name, type="fanout", durable=True, auto_delete=False, no_declare=not declared)


def durable_queue(
    name: str,
    exchange: Exchange,
    routing_key: str,
    *,
    x_expires: int | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> Queue:
    """Give a durable queue with one binding.

    Args:
        name: Name of the queue.
        exchange: Exchange that it is bound to.
        routing_key: Routing key of the binding.
        x_expires: Milliseconds without a consumer after which the broker deletes the queue.
        arguments: Further arguments of the queue, see `queue_arguments` and `request_arguments`.
    """
    given = dict(arguments or {})
    if x_expires is not None:
        given["x-expires"] = x_expires
    return Queue(
        name,
        exchange,
        routing_key=routing_key,
        durable=True,
        auto_delete=False,
        queue_arguments=given or None,
    )


def queue_arguments(queue_type: str) -> dict[str, Any]:
    """Give the arguments of a queue of that type.

    Args:
        queue_type: ``"quorum"`` for a queue that is replicated in the cluster; ``"classic"`` asks for nothing, as
            0.1.3 did, for the broker takes the two declarations for different ones.
    """
    return {} if queue_type == "classic" else {"x-queue-type": queue_type}


def request_arguments(queue_type: str, delivery_limit: int | None, dead_letters: str) -> dict[str, Any]:
    """Give the arguments of request and label queues, equal for all who declare them.

    Servers enforce the delivery limit themselves, with any queue. A quorum queue of RabbitMQ 4 has a limit
    of its own, 20 unless told otherwise, and counts what merely was in a server's hands when it died. It
    gets one that servers come before, and a dead-letter exchange for what may reach it all the same.
    Source: https://www.rabbitmq.com/docs/quorum-queues#poison-message-handling.

    Args:
        queue_type: ``classic`` or ``quorum``.
        delivery_limit: How many tries a request has; None for any number.
        dead_letters: Name of the dead-letter exchange, and routing key of its queue.
    """
    arguments = queue_arguments(queue_type)
    if arguments and delivery_limit is not None:
        arguments |= {
            "x-delivery-limit": _BROKERS_LIMIT * delivery_limit,
            "x-dead-letter-exchange": dead_letters,
            "x-dead-letter-routing-key": dead_letters,
        }
    return arguments


def control_queue(name: str, exchange: Exchange, routing_key: str, x_expires: int) -> Queue:
    """Give a queue that goes with its consumer; one that never had any, after ``x_expires`` milliseconds."""
    return Queue(
        name,
        exchange,
        routing_key=routing_key,
        durable=True,
        auto_delete=True,
        # Where the virtual host makes quorum queues of all others: those cannot go with their consumers.
        queue_arguments={"x-expires": x_expires, "x-queue-type": "classic"},
    )


def dead_letter_queue(name: str, queue_type: str) -> Queue:
    """Give the dead-letter queue, with its exchange; exchange, queue and routing key have one name."""
    return durable_queue(name, direct_exchange(name), name, arguments=queue_arguments(queue_type))


def open_counter(name: str, exchange: str, x_expires: int, channel: Any) -> int:
    """Declare a queue whose messages are counted, bound with its own name; return how many there are.

    Raises:
        ChannelError: The exchange does not exist, or the user lacks a permission.
    """
    declared = channel.queue_declare(name, durable=True, auto_delete=False, arguments={"x-expires": x_expires})
    channel.queue_bind(name, exchange, name)
    return int(declared.message_count)


def create_queue(queue: Queue, channel: Any) -> None:
    """Declare a queue with its exchange and binding."""
    queue(channel).declare()


def delete_queue(name: str, channel: Any) -> None:
    """Delete a queue with everything in it; no error if there is none."""
    channel.queue_delete(name)


def purge_queue(name: str, channel: Any) -> int:
    """Delete what waits in a queue, and return how many messages that were."""
    return int(channel.queue_purge(name) or 0)


def bind_queue(name: str, exchange: str, routing_key: str, channel: Any) -> None:
    """Bind an existing queue.

    Raises:
        ChannelError: There is no such queue.
    """
    channel.queue_declare(name, passive=True)
    channel.queue_bind(name, exchange, routing_key)


def bind_again(name: str, exchange: str, routing_key: str, channel: Any) -> bool:
    """Bind a queue that may have lost its binding; return whether the queue exists.

    Raises:
        ChannelError: The broker refuses it for another reason.
    """
    try:
        bind_queue(name, exchange, routing_key, channel)
    except ChannelError as error:
        if is_not_found(error):
            return False
        raise
    return True


def ask_for_default_exchange(channel: Any) -> None:
    """Find out whether this user may publish to the default exchange.

    A message to no queue asks for the permission here: one that is refused costs the channel that it is published on,
    and with it what others have sent there.

    Raises:
        ChannelError: The user lacks the permission.
    """
    channel.basic_publish(Message(b""), "", f"amphora-{uuid4().hex}")
    # Any synchronous method will do: its answer says that those before it went well.
    channel.basic_qos(0, 0, False)


def look_for(entity: Exchange | Queue, channel: Any) -> None:
    """Find out whether an exchange or a queue exists.

    Raises:
        ChannelError: It does not.
    """
    if isinstance(entity, Queue):
        channel.queue_declare(entity.name, passive=True)
    else:
        channel.exchange_declare(exchange=entity.name, type=entity.type, passive=True)


def exists(entity: Exchange | Queue, channel: Any) -> bool:
    """Return whether an exchange or a queue exists.

    Raises:
        ChannelError: The user lacks the permission.
    """
    try:
        look_for(entity, channel)
    except ChannelError as error:
        if is_not_found(error):
            return False
        raise
    return True


class QueueStatus(NamedTuple):
    """What AMQP tells of a queue.

    Attributes:
        messages (int): Messages that wait to be delivered; those that consumers have in hand are not among them.
        consumers (int): Consumers of the queue. (On ``memory://`` always 0.)
    """

    messages: int
    consumers: int


def queue_status(name: str, channel: Any) -> QueueStatus | None:
    """Ask how a queue is (``queue.declare``, passive: AMQP 0-9-1, 1.7.2.1); None where there is none.

    Raises:
        ChannelError: The user lacks the permission.
    """
    try:
        declared = channel.queue_declare(name, passive=True)
    except ChannelError as error:
        if is_not_found(error):
            return None
        raise
    return QueueStatus(int(declared.message_count), int(declared.consumer_count))


class Witness:
    """A queue that only one endpoint declares, so that its absence tells that the broker came back empty.

    Shared by the publisher and the consumer of the endpoint, whichever is connected first.

    Args:
        queue: The queue.

    Attributes:
        missing: Whether it was missing on a new connection, until `restore` has declared everything again.
    """

    def __init__(self, queue: Queue) -> None:
        self.missing = False
        self._queue = queue
        self._declared = False

    def look(self, channel: Any) -> None:
        """Look for the queue on a new connection, before it is declared; nothing is expected before the first time."""
        if self._declared and not exists(self._queue, channel):
            self.missing = True
        self._declared = True


class Topology:
    """What an endpoint needs on the broker; declared again on every new connection.

    Args:
        entities: Exchanges, and queues with their exchange and binding.
        expected: Exchanges and queues that somebody else declares: they are only looked for, which asks for no
            permission.
        witness: The endpoint's own queue, if it has one that lasts.

    Attributes:
        witness: The same.
        lost: Whether the broker is known to have lost everything, until it was declared again (see `restore`).
    """

    def __init__(
        self,
        entities: Iterable[Exchange | Queue],
        *,
        expected: Iterable[Exchange | Queue] = (),
        witness: Witness | None = None,
    ) -> None:
        self._fixed = tuple(entities)
        self._expected = tuple(expected)
        self._added: dict[str, Queue] = {}
        self.witness = witness
        self.lost = False

    def add(self, queue: Queue) -> None:
        """Note a queue that exists now: it is declared again on a broker that has lost everything."""
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
                permission, or there is none where one is expected.
        """
        for expected in self._expected:
            look_for(expected, channel)
        for entity in self._fixed:
            entity(channel).declare()

    def declare_added(self, channel: Any) -> None:
        """Declare the queues that were added, many in one round trip.

        Raises:
            ChannelError: The broker refuses one of them; it does not say which.
        """
        self._for_added(channel, lambda bound: (bound.queue_declare(nowait=True), bound.queue_bind(nowait=True)))

    def bind_added(self, channel: Any) -> None:
        """Bind the queues that were added, many in one round trip.

        Raises:
            ChannelError: One of them does not exist any more, or the broker refuses it; it does not say which.
        """
        self._for_added(channel, lambda bound: bound.queue_bind(nowait=True))

    def _for_added(self, channel: Any, step: Callable[[Queue], Any]) -> None:
        queues = self.added
        for start in range(0, len(queues), _AT_A_TIME):
            for queue in queues[start : start + _AT_A_TIME]:
                step(queue(channel))
            # Any synchronous method will do: its answer says that those before it went well.
            channel.basic_qos(0, 0, False)
