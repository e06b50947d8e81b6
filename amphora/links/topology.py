"""Exchanges, queues and bindings of a service as Kombu entities."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple
from uuid import uuid4

from amqp import Message
from amqp.exceptions import ChannelError
from kombu import Exchange, Queue

from amphora.driver.ports import ChannelPort
from amphora.links.declare_channel import is_not_found
from amphora.links.own_queue import OwnQueue
from amphora.links.queue_types import AUTO, CLASSIC, QUORUM, Form, QueueTypes
from amphora.options.settings import DELIVERY_LIMIT

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
    "purge_queue",
    "queue_forms",
    "queue_status",
    "request_forms",
]


#: Queues that are declared in one round trip.
_AT_A_TIME = 200

#: The delivery limit of a quorum queue itself, as a multiple of the one that servers enforce, and at least.
_BROKERS_LIMIT = 10
_BROKERS_LEAST = 10_000

#: Milliseconds after which RabbitMQ since 4.3 gives the messages of consumers on a lost node to others. Its default is
#: 60 s, as long as a call waits by default. Earlier releases do so at once, and ignore the argument.
_DISCONNECTED = 10_000

#: Where the servers enforce none. Without a limit in the declaration, RabbitMQ 4 has one of 20.
_NO_LIMIT = 1_000_000_000

_QUORUM: Mapping[str, Any] = {
    "x-queue-type": QUORUM,
    "x-delivery-limit": _NO_LIMIT,
    "x-consumer-disconnected-timeout": _DISCONNECTED,
}


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
    types: QueueTypes | None = None,
    forms: Sequence[Form] = (Form({}, CLASSIC),),
    leader: OwnQueue | None = None,
    leads: bool = False,
) -> OwnQueue:
    """Give a durable queue with one binding.

    Args:
        name: Name of the queue.
        exchange: Exchange that it is bound to.
        routing_key: Routing key of the binding.
        x_expires: Milliseconds without a consumer after which the broker deletes the queue.
        types: The types of the service's queues.
        forms: Further arguments that it may have, see `queue_forms` and `request_forms`.
        leader: See `OwnQueue`, as for the next one.
        leads: Whether this is the service's own queue.
    """
    expires = {} if x_expires is None else {"x-expires": x_expires}
    return OwnQueue.of(
        name,
        exchange,
        routing_key,
        types=QueueTypes(CLASSIC) if types is None else types,
        forms=[Form({**form.arguments, **expires}, form.queue_type, form.lacking) for form in forms],
        temporary=x_expires is not None,
        leader=leader,
        leads=leads,
    )


def queue_forms(queue_type: str) -> list[Form]:
    """Return the arguments of a queue of that type, for messages that servers do not count the deliveries of.

    The type is always named: the virtual host or the node may have another default. (For RabbitMQ, ``classic`` and no
    type are the same where the default is classic, so that 0.1.3 can declare such queues too.)

    Args:
        queue_type: ``classic``, ``quorum`` for a queue that is replicated in a cluster, or ``auto`` for either.

    Returns:
        Those to declare it with, then those that it is used with where it exists: of earlier releases, too.
    """
    forms = []
    if queue_type != QUORUM:
        forms.append(Form({"x-queue-type": CLASSIC}, CLASSIC))
    if queue_type != CLASSIC:
        forms.append(Form(_QUORUM, QUORUM))
        forms.append(Form({"x-queue-type": QUORUM}, QUORUM, lacking=True))
    if queue_type != QUORUM:
        # What is no classic queue without a type is one of the default of the virtual host or the node.
        forms.append(Form({}, QUORUM, lacking=True))
    return forms


def request_forms(queue_type: str, delivery_limit: int | None, dead_letters: str) -> list[Form]:
    """Return the arguments of request and label queues, equal for all who declare them.

    Servers enforce the delivery limit themselves, with any queue. A quorum queue of RabbitMQ 4 has a limit of its own,
    20 unless declared otherwise, which counts requests that were prefetched by a server that was lost. With ``quorum``,
    it gets one that servers reach long before, and a dead-letter exchange for what may reach it all the same. With
    ``auto``, it gets none: so servers and clients may have different limits, as with classic queues.
    Source: https://www.rabbitmq.com/docs/quorum-queues#poison-message-handling.

    Args:
        queue_type: ``classic``, ``quorum`` or ``auto``.
        delivery_limit: How many tries a request has; None for any number.
        dead_letters: Name of the dead-letter exchange, and routing key of its queue.

    Returns:
        See `queue_forms`.
    """
    forms = queue_forms(queue_type)
    dead = {"x-dead-letter-exchange": dead_letters, "x-dead-letter-routing-key": dead_letters}
    if queue_type == QUORUM and delivery_limit is not None:
        # (The last one is that of `auto`.)
        return [*_limited(delivery_limit, dead), Form(_QUORUM, QUORUM)]
    if queue_type != AUTO:
        return forms
    # Those of programs that name the type, with this limit or the default one.
    limits = {each: None for each in (delivery_limit, DELIVERY_LIMIT) if each is not None}
    return [*forms, *(form for limit in limits for form in _limited(limit, dead))]


def _limited(delivery_limit: int, dead: Mapping[str, Any]) -> list[Form]:
    """Return the arguments with a limit, and those of 1.0.0a1."""
    earlier = _BROKERS_LIMIT * delivery_limit
    arguments = {**_QUORUM, "x-delivery-limit": max(_BROKERS_LEAST, earlier), **dead}
    lacking = {"x-queue-type": QUORUM, "x-delivery-limit": earlier, **dead}
    return [Form(arguments, QUORUM), Form(lacking, QUORUM, lacking=True)]


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


def dead_letter_queue(name: str, types: QueueTypes, leader: OwnQueue | None = None) -> OwnQueue:
    """Return the dead-letter queue, with its exchange; exchange, queue and routing key have one name."""
    forms = queue_forms(types.configured)
    return durable_queue(name, direct_exchange(name), name, types=types, forms=forms, leader=leader)


def create_queue(queue: Queue, channel: ChannelPort) -> None:
    """Declare a queue with its exchange and binding; see `OwnQueue.declare_on`."""
    if isinstance(queue, OwnQueue):
        queue.declare_on(channel)
    else:
        queue(channel).declare()


def _declare(entity: Exchange | Queue, channel: ChannelPort) -> None:
    if isinstance(entity, Queue):
        create_queue(entity, channel)
    else:
        entity(channel).declare()


def delete_queue(name: str, channel: ChannelPort) -> None:
    """Delete a queue with everything in it; no error if there is none."""
    channel.queue_delete(name)


def purge_queue(name: str, channel: ChannelPort) -> int:
    """Delete what waits in a queue, and return how many messages that were."""
    return int(channel.queue_purge(name) or 0)


def bind_queue(name: str, exchange: str, routing_key: str, channel: ChannelPort) -> None:
    """Bind an existing queue.

    Raises:
        ChannelError: There is no such queue.
    """
    # (Not declared before, passively: RabbitMQ 4 does not answer that while the queue's node is down.)
    channel.queue_bind(name, exchange, routing_key)


def bind_again(name: str, exchange: str, routing_key: str, channel: ChannelPort) -> bool:
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


def ask_for_default_exchange(channel: ChannelPort) -> None:
    """Find out whether this user may publish to the default exchange.

    A message to no queue asks for the permission here: one that is refused costs the channel that it is published on,
    and with it what others have sent there.

    Raises:
        ChannelError: The user lacks the permission.
    """
    channel.basic_publish(Message(b""), "", f"amphora-{uuid4().hex}")
    # Any synchronous method will do: its answer says that those before it went well.
    channel.basic_qos(0, 0, False)


def look_for(entity: Exchange | Queue, channel: ChannelPort) -> None:
    """Find out whether an exchange or a queue exists.

    Raises:
        ChannelError: It does not.
    """
    if isinstance(entity, Queue):
        channel.queue_declare(entity.name, passive=True)
    else:
        channel.exchange_declare(exchange=entity.name, type=entity.type, passive=True)


def exists(entity: Exchange | Queue, channel: ChannelPort) -> bool:
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


def queue_status(name: str, channel: ChannelPort) -> QueueStatus | None:
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

    def look(self, channel: ChannelPort) -> None:
        """Look for the queue on a new connection, before it is declared; nothing is expected before the first time."""
        if self._declared and not exists(self._queue, channel):
            self.missing = True
        self._declared = True


class Topology:
    """What an endpoint needs on the broker; declared again on every new connection.

    Args:
        entities: Exchanges, and queues with their exchange and binding.
        expected: Exchanges and queues that other programs declare: they are only looked for, which asks for no
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

    @property
    def steps(self) -> list[tuple[Exchange | Queue, Callable[[ChannelPort], None]]]:
        """What `declare` does, one entity after the other: each, and the action that declares it or looks for it."""
        return [
            *((each, partial(look_for, each)) for each in self._expected),
            *((each, partial(_declare, each)) for each in self._fixed),
        ]

    def declare(self, channel: ChannelPort) -> None:
        """Declare the fixed part; the channel's synchronous methods wait for the broker.

        Raises:
            DeclareAgain: A queue has other arguments, see `OwnQueue.declare_on`.
            ChannelError: An entity of that name exists with other properties, or the user lacks a
                permission, or there is none where one is expected.
        """
        for _, action in self.steps:
            action(channel)

    @property
    def leads(self) -> bool:
        """Whether the service's own queue is in the fixed part, see `OwnQueue`."""
        return any(isinstance(entity, OwnQueue) and entity.leads for entity in self._fixed)

    @property
    def adapted(self) -> list[str]:
        """Names of the queues that the broker has with arguments of an earlier release, see `OwnQueue`."""
        queues = (*self._fixed, *self.added)
        return [queue.name for queue in queues if isinstance(queue, OwnQueue) and queue.adapted]

    def declare_added(self, channel: ChannelPort) -> None:
        """Declare the queues that were added, many in one round trip.

        Raises:
            ChannelError: The broker refuses one of them; it does not say which.
        """
        self._for_added(channel, lambda bound: (bound.queue_declare(nowait=True), bound.queue_bind(nowait=True)))

    def bind_added(self, channel: ChannelPort) -> None:
        """Bind the queues that were added, many in one round trip.

        Raises:
            ChannelError: One of them does not exist any more, or the broker refuses it; it does not say which.
        """
        self._for_added(channel, lambda bound: bound.queue_bind(nowait=True))

    def _for_added(self, channel: ChannelPort, step: Callable[[Queue], Any]) -> None:
        queues = self.added
        for start in range(0, len(queues), _AT_A_TIME):
            for queue in queues[start : start + _AT_A_TIME]:
                if isinstance(queue, OwnQueue):
                    queue.prepare(channel)
                step(queue(channel))
            # Any synchronous method will do: its answer says that those before it went well.
            channel.basic_qos(0, 0, False)
