"""`DeadLetters`: look at the requests that were given up, give them back, or drop them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import monotonic
from typing import Any

import gevent
from gevent.event import AsyncResult
from gevent.queue import Empty, Queue

from amphora.core.messages import OutgoingMessage
from amphora.driver.incoming_message import IncomingMessage
from amphora.endpoint.endpoint import Endpoint, check_patched
from amphora.exceptions import AmqpRpcException, BrokerError, BrokerUnreachable, Unroutable, WrongRequest
from amphora.links.topology import QueueStatus, Topology, purge_queue
from amphora.options.brokers import AMQP_HOST, AMQP_PASSWORD, AMQP_PORT, AMQP_USER, AMQP_VHOST
from amphora.options.dead_letter_options import DeadLetterOptions
from amphora.options.settings import MAX_RECEIVED_SIZE, OutboxLimits, SslOption
from amphora.protocol.dead_letters import (
    ROUTING_KEY,
    Target,
    given_back_properties,
    origin_of,
    request_of,
    target_of,
)
from amphora.protocol.messages import Request, message_id_of
from amphora.protocol.signatures import sign_request, signatures_of
from amphora.protocol.signed_fields import SIGNATURE, SIGNATURE_2, SIGNATURE_OF_LETTER
from amphora.serializers import RpcJsonSerializer, SerializerOption
from amphora.value_checks import seconds

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
        queue (str | None): Name of the queue that it comes from, as its headers say; None where they do not.
        reason (str): Why it was given up, as its headers say: ``delivery_limit``, ``unreadable``, or RabbitMQ's word,
            such as ``expired``.
        tries (int | None): How often it was tried; None if unknown.
        timestamp (int | None): When it was sent (`time.time`), if its client says so.
        body (bytes): Its body.
        doubt (str | None): Why it is not certain that a server of the service has given it up; None where it is, or
            where no `signing_keys` were given, with which nothing is certain and nothing checked.
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
    doubt: str | None
    _delivery: IncomingMessage = field(repr=False, compare=False)


class DeadLetters(Endpoint):
    """The dead letters of a service, to look at, to give back and to drop.

    ::

        with DeadLetters("orders") as dead:
            for letter in dead.letters():
                if letter.function == "ship":
                    dead.requeue(letter)

    While it is connected, it holds the letters: no other program gets them, and all of them are in this process's
    memory. Those that were neither given back nor dropped are in the queue again, in the old order, when it stops.

    Not every letter comes from a server: the broker dead-letters expired requests by itself, and other programs may
    have the right to write to the queue. With ``signing_keys``, letters without the mark of a server have a ``doubt``,
    and `requeue` refuses them unless told otherwise.

    Args:
        service_name: Namespace of the RPC service.
        serializer: Decodes requests; a subclass of `AbstractRpcSerializer`, or an instance.
        broker_url: ``amqp://user:password@host:port/vhost``, ``amqps://...`` (TLS), several of them separated by ``;``
            (the nodes of a cluster, tried in order), or ``memory://`` (this process only, for tests and demos). Instead
            of the ``amqp_*`` arguments.
        amqp_host: Host name or IP address of the broker.
        amqp_port: TCP port of the broker.
        amqp_user: User name.
        amqp_password: Password.
        amqp_vhost: Virtual host.
        ssl: TLS: True for the system's certificates, an `ssl.SSLContext`, or a dict with any of ``ca_certs``,
            ``certfile``, ``keyfile``, ``password``, ``server_hostname``, ``check_hostname`` and ``verify``.
            Certificates are verified unless that says otherwise.
        shuffle_brokers: Whether to try the brokers of ``broker_url`` in a random order instead, so that many processes
            do not all use the first one.
        heartbeat: Seconds (whole ones) between heartbeats; a broker silent for two of them is taken for lost. 0
            switches heartbeats off, and with them the notice of a silent network.
        connect_timeout: Seconds for an attempt to connect, and for any one answer of the broker.
        reconnect_delay_max: The most seconds between attempts to connect; the first attempt is made at once, then the
            delay grows, with jitter.
        accept: Further serializers whose requests are understood.
        signing_keys: Keys of the service; what is given back is signed with the first one.
        identify: Whether what is given back names the broker's user, as that of `AmqpRpcClient` does: functions with
            `require_user` run it if that user may call them. (RabbitMQ does not let it name the original user.)
        max_received_size: Bytes of a letter's body that are decoded; a larger one is shown as unreadable.

    Raises:
        RuntimeError: The program is not monkey-patched.
        TypeError, ValueError: An argument is wrong.
    """

    _options_type = DeadLetterOptions

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
        shuffle_brokers: bool = False,
        heartbeat: int = 30,
        connect_timeout: float = 10.0,
        reconnect_delay_max: float = 1.0,
        accept: Sequence[SerializerOption] = (),
        signing_keys: Sequence[bytes | str] = (),
        identify: bool = False,
        max_received_size: int = MAX_RECEIVED_SIZE,
    ) -> None:
        check_patched(type(self).__name__)
        options = DeadLetterOptions.of(locals())
        self._names = options.names
        self._queue = self._names.dead_letters
        self._codec = options.codec
        self._signatures = signatures_of(options.signing_keys, service=service_name)
        self._signing_keys = options.signing_keys
        self._user = options.user
        super().__init__(
            service_name,
            "dead letters",
            options.link_settings,
            OutboxLimits(),
            publishes=Topology([]),
            consumes=Topology([]),
            acks_on_delivery=False,
        )
        self._arrived: Queue[IncomingMessage] = Queue()
        self._subscribed = False

    @property
    def queue(self) -> str:
        """Name of the queue on the broker."""
        return self._queue

    def status(self, timeout: float = 10.0) -> QueueStatus | None:
        """Ask the broker how the queue is; what this object has in hand is not counted.

        Args:
            timeout: Seconds to wait for the broker at most.

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
            timeout: Seconds to wait for an answer of the broker at most.

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

    def requeue(self, letter: DeadLetter, timeout: float | None = 30.0, *, unverified: bool = False) -> None:
        """Give a letter back to the queue that it comes from, where it has all its tries again.

        It leaves the dead letters when the broker has confirmed that it has it in the other queue, not before: where
        this process dies in between, the request is in both, and never in none.

        It is published to the request exchange of the service, with the routing key that it had. Only for fan-out
        services, whose exchange leads to all servers, it is published directly to the queue.

        Args:
            letter: One of `letters`.
            timeout: Seconds to wait for the broker's confirm; None for no limit.
            unverified: Give it back although it has a ``doubt``, or its headers do not say where it comes from. With
                ``signing_keys`` that signs what anybody may have written: look at the letter before.

        Raises:
            ValueError: It has a ``doubt``, its headers do not say which queue it comes from, or it is signed and
                ``signing_keys`` were not given.
            Unroutable: That queue does not exist any more.
            BrokerUnreachable: Not confirmed in time, or the connection broke since `letters` yielded it. It may be
                among the dead letters, in its queue, or in both.
            BrokerError: The broker refuses it.
        """
        body, delivery = letter.body, letter._delivery
        target = self._target(letter, unverified=unverified)
        self._check_in_hand(letter)
        properties = given_back_properties(delivery.properties)
        if self._user is not None:
            properties["user_id"] = self._user
        if self._signing_keys:
            properties = sign_request(
                self._signing_keys, self._service_name, properties, body, routing_key=target.routing_key
            )
        outcome: AsyncResult[AmqpRpcException | None] = AsyncResult()
        self._publisher.publish_now(
            OutgoingMessage(target.exchange, target.routing_key, properties, body, lambda _, error: outcome.set(error)),
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
        if isinstance(error, Unroutable):
            raise Unroutable(f"dead letter {letter.request_id!r} cannot go back to queue {letter.queue!r}: {error}")
        if error is not None:
            raise error
        self._acknowledge(letter, "it is in its queue, and among the dead letters as well")

    def drop(self, letter: DeadLetter) -> None:
        """Delete a letter.

        Args:
            letter: One of `letters`.

        Raises:
            BrokerUnreachable: The connection broke since `letters` yielded it, or breaks now: it may be among the dead
                letters again.
        """
        self._check_in_hand(letter)
        self._acknowledge(letter, "it may be among the dead letters again")

    def _target(self, letter: DeadLetter, *, unverified: bool) -> Target:
        """Return where a letter is given back to.

        Raises:
            ValueError: See `requeue`.
        """
        name = f"dead letter {letter.request_id!r}"
        properties = letter._delivery.properties
        signed = any(each.startswith(SIGNATURE) for each in properties.get("headers") or ())
        if signed and not self._signing_keys and not unverified:
            raise ValueError(
                f"{name} is signed: without signing_keys, the servers would refuse it, and it would be lost"
            )
        marked = self._signatures is not None and self._signatures.is_marked(properties, letter.body)
        if letter.doubt is not None and not unverified:
            raise ValueError(f"{name} is of unknown origin: {letter.doubt}")
        try:
            target = target_of(properties, self._names, marked=marked)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        if not target.trusted and not unverified:
            told = "do not say" if letter.queue is None else f"alone say that it comes from {letter.queue!r}:"
            raise ValueError(f"{name} is of unknown origin: its headers {told} which queue it comes from")
        return target

    def _check_in_hand(self, letter: DeadLetter) -> None:
        if not self._consumer.is_current(letter._delivery):
            link = self._consumer.link
            raise BrokerUnreachable(
                f"dead letter {letter.request_id!r} is among the dead letters again: the connection broke since it was "
                f"taken ({link.name}: {link.state})"
            )

    def _acknowledge(self, letter: DeadLetter, otherwise: str) -> None:
        self._consumer.ack(letter._delivery)
        # Acknowledgements are not confirmed, but the broker answers this after it has read what was sent before:
        # without it, the end of this process would leave in the queue whatever it had in its buffers.
        self.status(_ANSWER)
        if not self._consumer.is_current(letter._delivery):
            raise BrokerUnreachable(
                f"dead letter {letter.request_id!r} may not be acknowledged, as the connection broke: {otherwise}"
            )

    def _doubt(self, properties: Mapping[str, Any], body: bytes) -> str | None:
        if self._signatures is None or self._signatures.is_marked(properties, body):
            return None
        headers = properties.get("headers") or {}
        if SIGNATURE_OF_LETTER in headers:
            return "the mark of a server does not fit: it was altered, or comes from another service or key"
        if SIGNATURE not in headers and SIGNATURE_2 not in headers:
            return "it has no mark of a server and is not signed: anybody may have sent it"
        try:
            self._signatures.check_request(request_of(properties), body, routing_key=_routing_key_of(headers))
        except WrongRequest:
            return "it has no mark of a server, and its signature does not fit: anybody may have sent it"
        return (
            "it has no mark of a server: a client has signed it, perhaps long ago, and the broker, a server of release "
            "1.0.0a1 or another program has made a dead letter of it"
        )

    def purge(self, timeout: float = 10.0) -> int:
        """Delete all letters that are not held by a consumer.

        Args:
            timeout: Seconds to wait for the broker at most.

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

    def _next(self, timeout: float) -> IncomingMessage | None:
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

    def _letter(self, delivery: IncomingMessage) -> DeadLetter:
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
            doubt=self._doubt(properties, delivery.body),
            _delivery=delivery,
        )

    def _fail_pending(self, error: BrokerError) -> None:
        self._publisher.refuse_all(error)


def _routing_key_of(headers: Mapping[str, Any]) -> str:
    """Return the routing key that a request was published with, as the headers of its dead letter say."""
    known = headers.get(ROUTING_KEY)
    if isinstance(known, str):
        return known
    # A list of tables, the latest death first (https://www.rabbitmq.com/docs/dlx#effects).
    deaths = headers.get("x-death")
    latest = deaths[0] if isinstance(deaths, list) and deaths else None
    keys = latest.get("routing-keys") if isinstance(latest, dict) else None
    return keys[0] if isinstance(keys, list) and keys and isinstance(keys[0], str) else ""
