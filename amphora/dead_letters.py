"""`DeadLetters`: look at the requests that were given up, give them back, or drop them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import monotonic
from typing import Any

import gevent
from gevent.event import AsyncResult
from gevent.queue import Empty, Queue

from amphora.brokers import AMQP_HOST, AMQP_PASSWORD, AMQP_PORT, AMQP_USER, AMQP_VHOST, brokers_of
from amphora.endpoint import Endpoint
from amphora.exceptions import AmqpRpcException, BrokerError, BrokerUnreachable, WrongRequest
from amphora.links.delivery import Delivery
from amphora.links.outgoing import Outgoing
from amphora.links.topology import QueueStatus, Topology, purge_queue
from amphora.protocol.dead_letters import given_back_properties, origin_of
from amphora.protocol.messages import Codec, Request, message_id_of
from amphora.protocol.names import Names
from amphora.protocol.signatures import sign_request, signatures_of
from amphora.serializer import RpcJsonSerializer, SerializerOption
from amphora.settings import (
    MAX_RECEIVED_SIZE,
    LinkSettings,
    OutboxLimits,
    SslOption,
    seconds,
    ssl_of,
)

__all__ = ["DeadLetter", "DeadLetters"]

#: Seconds to wait for the broker after an acknowledgement.
_ANSWER = 10.0

#: Seconds without a message after which the broker is asked whether more are to come.
_PAUSE = 0.5


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A request that was given up; see `DeadLetters`.

    Attributes:
        request_id (str | None): Its id; None where it has none.
        function (str | None): Name of the function; None where the request cannot be read.
        args (tuple): Positional arguments.
        kwargs (dict): Keyword arguments.
        queue (str | None): Name of the queue that it comes from; None where nobody says.
        reason (str): Why it was given up: ``delivery_limit``, ``unreadable``, or RabbitMQ's word, such as ``expired``.
        tries (int | None): How often it was tried; None where nobody says.
        timestamp (int | None): When it was sent (`time.time`), if its client says so.
        body (bytes): Its body.
    """

    request_id: str | None
    function: str | None
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    queue: str | None
    reason: str
    tries: int | None
    timestamp: int | None
    body: bytes = field(repr=False)
    _delivery: Delivery = field(repr=False, compare=False)


class DeadLetters(Endpoint):
    """The dead letters of a service, to look at, to give back and to drop.

    ::

        with DeadLetters("orders") as dead:
            for letter in dead.letters():
                if letter.function == "ship":
                    dead.requeue(letter)

    While it is connected, it has the letters in hand: nobody else gets them, and all of them are in this process's
    memory. Those that were neither given back nor dropped are in the queue again, in the old order, when it stops.

    Args:
        service_name: Namespace of the RPC service.
        serializer: Decodes requests; a subclass of `AbstractRpcSerializer`, or an instance.
        broker_url: See `AmqpRpcServer`, as for those below.
        amqp_host: Host name or IP address of the broker.
        amqp_port: TCP port of the broker.
        amqp_user: User name.
        amqp_password: Password.
        amqp_vhost: Virtual host.
        ssl: TLS.
        heartbeat: Seconds (whole ones) between heartbeats.
        connect_timeout: Seconds for an attempt to connect, and for any one answer of the broker.
        accept: Further serializers whose requests are understood.
        signing_keys: Keys of the service; what is given back is signed with the first one.
        max_received_size: Bytes of a letter's body that are decoded; a larger one is shown as unreadable.

    Raises:
        RuntimeError: The program is not monkey-patched.
        TypeError, ValueError: An argument is wrong.
    """

    def __init__(
        self,
        service_name: str,
        serializer: SerializerOption = RpcJsonSerializer,
        *,
        broker_url: str | None = None,
        amqp_host: str = AMQP_HOST,
        amqp_port: int = AMQP_PORT,
        amqp_user: str = AMQP_USER,
        amqp_password: str = AMQP_PASSWORD,
        amqp_vhost: str = AMQP_VHOST,
        ssl: SslOption = False,
        heartbeat: int = 30,
        connect_timeout: float = 10.0,
        accept: Sequence[SerializerOption] = (),
        signing_keys: Sequence[bytes | str] = (),
        max_received_size: int = MAX_RECEIVED_SIZE,
    ) -> None:
        self._check_patched()
        self._queue = Names(service_name).dead_letters
        self._codec = Codec.of(serializer, accept, max_received_size)
        # Made for its checks: a short key is to be said now.
        signatures_of(signing_keys, service=service_name)
        self._signing_keys = signing_keys
        brokers = brokers_of(broker_url, amqp_host, amqp_port, amqp_user, amqp_password, amqp_vhost)
        ssl = ssl_of(ssl, brokers)
        settings = LinkSettings(brokers, ssl, heartbeat, connect_timeout)
        super().__init__(
            service_name,
            "dead letters",
            settings,
            OutboxLimits(),
            publishes=Topology([]),
            consumes=Topology([]),
            acks_on_delivery=False,
        )
        self._arrived: Queue[Delivery] = Queue()
        self._subscribed = False

    @property
    def queue(self) -> str:
        """Name of the queue on the broker."""
        return self._queue

    def status(self, timeout: float = 10.0) -> QueueStatus | None:
        """Ask the broker how the queue is; what this object has in hand is not counted.

        Args:
            timeout: Seconds to wait for the broker at the most.

        Returns:
            None where there is no such queue: no server of the service has ever had a ``delivery_limit``.

        Raises:
            BrokerUnreachable: The broker did not answer in time.
            BrokerError: The broker refuses.
        """
        return self._queue_status([self._queue], seconds("timeout", timeout, zero=True))[self._queue]

    def letters(self, timeout: float = 10.0) -> Iterator[DeadLetter]:
        """Take the letters that are in the queue, the oldest first, and yield each of them.

        Letters that come while this goes on may or may not be among them, but no more are yielded than there were in
        the queue at the beginning. May be called once.

        Args:
            timeout: Seconds to wait for an answer of the broker at the most.

        Raises:
            BrokerUnreachable: The broker did not answer in time.
            BrokerError: The broker refuses.
            RuntimeError: It was called before.
        """
        if self._subscribed:
            raise RuntimeError("letters() may be called once: make another DeadLetters")
        found = self.status(timeout)
        self._subscribed = True
        if found is None or not found.messages:
            return
        self._consumer.subscribe(self._queue, prefetch=0, deliver=self._arrived.put_nowait, own=False)
        for _ in range(found.messages):
            delivery = self._next(timeout)
            if delivery is None:
                return
            yield self._letter(delivery)

    def requeue(self, letter: DeadLetter, timeout: float | None = 30.0) -> None:
        """Give a letter back to the queue that it comes from, where it has all its tries again.

        It leaves the dead letters when the broker has confirmed that it has it in the other queue, not before: where
        this process dies in between, the request is in both, and never in none.

        Args:
            letter: One of `letters`.
            timeout: Seconds to wait for the broker's confirm; None for ever.

        Raises:
            ValueError: Nobody says which queue it comes from.
            Unroutable: That queue does not exist any more.
            BrokerUnreachable: Not confirmed in time. It may be among the dead letters, in its queue, or in both.
            BrokerError: The broker refuses it.
        """
        if letter.queue is None:
            raise ValueError(f"dead letter {letter.request_id!r} does not say which queue it comes from")
        body, delivery = letter.body, letter._delivery
        properties = given_back_properties(delivery.properties)
        if self._signing_keys:
            properties = sign_request(self._signing_keys, self._service_name, properties, body)
        outcome: AsyncResult[AmqpRpcException | None] = AsyncResult()
        self._publisher.publish_now(
            Outgoing("", letter.queue, properties, body, lambda _, error: outcome.set(error)),
        )
        gevent.wait([outcome, self._ended], timeout=timeout, count=1)
        if not outcome.ready():
            self._raise_failure()
            link = self._publisher.link
            raise BrokerUnreachable(
                f"dead letter {letter.request_id!r} was not confirmed in queue {letter.queue!r} "
                f"({link.name}: {link.state})"
            )
        error = outcome.get()
        if error is not None:
            raise error
        self._consumer.ack(delivery)
        # Acknowledgements are not confirmed, but whoever answers this has read what was sent before: without it, the
        # death of this process would leave in both queues whatever it had in its buffers.
        self.status(_ANSWER)

    def drop(self, letter: DeadLetter) -> None:
        """Delete a letter.

        Args:
            letter: One of `letters`.
        """
        self._consumer.ack(letter._delivery)

    def purge(self, timeout: float = 10.0) -> int:
        """Delete all letters that nobody has in hand.

        Args:
            timeout: Seconds to wait for the broker at the most.

        Returns:
            How many they were; 0 as well where there is no such queue.

        Raises:
            BrokerUnreachable: The broker did not answer in time. They may be gone, or go later.
            BrokerError: The broker refuses.
        """
        if self.status(timeout) is None:
            return 0
        asked = self._consumer.run(partial(purge_queue, self._queue))
        gevent.wait([asked, self._ended], timeout=timeout, count=1)
        if not asked.ready():
            self._consumer.drop(asked)
            self._raise_failure()
            link = self._consumer.link
            raise BrokerUnreachable(f"purging queue {self._queue!r} was not answered ({link.name}: {link.state})")
        return int(asked.get() or 0)

    def _next(self, timeout: float) -> Delivery | None:
        """Wait for the next letter that can still be acknowledged; None where no more are to come."""
        quiet_since = monotonic()
        asked = False
        while True:
            self._raise_failure()
            try:
                delivery = self._arrived.get(timeout=_PAUSE)
            except Empty:
                # Others may have taken what was counted. What was sent to us before the answer gets one more pause.
                if asked:
                    return None
                remaining = timeout - (monotonic() - quiet_since)
                asked = self._is_empty(max(0.0, remaining))
                if not asked and remaining <= 0:
                    link = self._consumer.link
                    raise BrokerUnreachable(
                        f"queue {self._queue!r} has letters, but the broker sends none ({link.name}: {link.state})"
                    ) from None
            else:
                if self._consumer.is_current(delivery):
                    return delivery

    def _is_empty(self, timeout: float) -> bool:
        found = self.status(timeout)
        return found is None or found.messages == 0

    def _letter(self, delivery: Delivery) -> DeadLetter:
        properties = delivery.properties
        queue, reason, tries = origin_of(properties)
        timestamp = properties.get("timestamp")
        try:
            request = self._codec.read_request(properties, delivery.body)
        except WrongRequest:
            request = Request("", [], {})
        return DeadLetter(
            request_id=message_id_of(properties),
            function=request.function or None,
            args=tuple(request.args),
            kwargs=request.kwargs,
            queue=queue,
            reason=reason,
            tries=tries,
            timestamp=timestamp if isinstance(timestamp, int) else None,
            body=delivery.body,
            _delivery=delivery,
        )

    def _fail_pending(self, error: BrokerError) -> None:
        self._publisher.refuse_all(error)
