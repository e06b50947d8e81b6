"""Requests that end their servers: their tries are counted on the broker, and those with too many dead-lettered there.

A classic queue says that it has delivered a request before (``redelivered``), but not how often. A quorum
queue counts deliveries, but a server has up to ``concurrency`` requests at a time: when one of them kills
it, the count of all the others rises too (https://github.com/rabbitmq/rabbitmq-website/pull/2207). So
servers count tries themselves, where no server's death takes the count along: each request that comes
again has a queue of its own on the broker, into which an empty message is put, confirmed, before each
further try. The request itself stays where it is: it is neither copied nor moved to the end of its queue.

What is done with a request, `amphora.core.tries` decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from sys import maxsize
from time import monotonic
from typing import Any

from gevent.event import AsyncResult

from amphora.core.messages import OutgoingMessage
from amphora.core.requests import ServedRequests
from amphora.core.tries import Tries
from amphora.driver.frames import encode_header
from amphora.driver.incoming_message import IncomingMessage
from amphora.endpoint.log_fields import request_fields
from amphora.exceptions import AmqpRpcException, BrokerError, DeadLettered, MessageRejected
from amphora.links.counters import OpenCounter
from amphora.links.publisher import Publisher
from amphora.links.topology import Topology, delete_queue
from amphora.logs.note_log import NoteLogger
from amphora.protocol.dead_letters import TOO_MANY_TRIES, UNREADABLE, dead_letter_properties, fitted, identity
from amphora.protocol.messages import PERSISTENT
from amphora.protocol.names import Names
from amphora.protocol.signatures import Signatures
from amphora.server.served_request import ServedRequest

__all__ = ["DeliveryLimit"]

logger = NoteLogger(__name__)

#: Milliseconds for which the broker keeps the count of a request that is not tried again.
_KEPT = 24 * 60 * 60 * 1000

#: Seconds to wait for an answer about a count: less than a request waits for it (`amphora.core.tries`).
_PATIENCE = 5.0

#: Bytes of a dead letter's header frame: the smallest ``frame_max`` that AMQP allows (0-9-1, 4.2.3), less the mark of a
#: server. With more, the broker could end the connection, and the next one with the letter that is sent again.
_ROOM = 4096 - 128


class DeliveryLimit:
    """Counts the tries of the requests that come again, and dead-letters them.

    Args:
        name: What operators see in the log.
        names: The service's AMQP names.
        limit: How many tries a request has, the first one included; at least two.
        publisher: Counts, and takes the dead letters.
        topology: Declares the dead-letter exchange and queue.
        signatures: Marks the dead letters; None where nothing is signed.
        fanout: Whether the service is a fan-out one, whose request exchange leads to all its servers.

    Raises:
        ValueError: The service's name is too long for the names of the counts.
    """

    def __init__(
        self,
        name: str,
        *,
        names: Names,
        limit: int,
        publisher: Publisher,
        topology: Topology,
        signatures: Signatures | None = None,
        fanout: bool = False,
    ) -> None:
        self.limit = limit
        self._name = name
        self._names = names
        self._publisher = publisher
        self._topology = topology
        self._signatures = signatures
        self._fanout = fanout
        # A name too long is to be reported now, not when the first request comes again.
        names.tries_queue(identity({}, b""))

    def attach(self, served: ServedRequests[ServedRequest]) -> None:
        """Tell these requests what the broker says."""
        self._served = served
        self._tries = served.tries = Tries(self.limit, _TriesPorts(self, served))

    def can_publish(self) -> bool:
        """Return whether the broker can be asked."""
        link = self._publisher.link
        return link.connected and not link.blocked

    # -- counts -----------------------------------------------------------------------------

    def counter(self, delivery: IncomingMessage) -> str:
        """Return the queue that counts the tries of a request, if any were counted."""
        return self._names.tries_queue(identity(delivery.properties, delivery.body))

    def ask(self, job: ServedRequest) -> None:
        """Ask how often a request was begun."""
        action = OpenCounter(job.counter, self._names.dead_letters, _KEPT)
        asked = self._publisher.run(action, key=("tries", job.counter), limit=_PATIENCE)
        asked.rawlink(partial(self._on_told, job))

    def _on_told(self, job: ServedRequest, answer: AsyncResult[Any]) -> None:
        if answer.successful():
            self._tries.told(job, int(answer.value or 0), monotonic())
            return
        error = answer.exception
        if isinstance(error, BrokerError):
            # As without a guard: neither lose the request, nor hold it up for good.
            logger.error(
                "%s: the tries of request %r cannot be counted: %s",
                self._name,
                job.message_id,
                error,
                extra=request_fields(job.message_id, job.function),
                once=("cannot be counted", self._name),
            )
            job.counter = ""
            self._tries.refused(job, monotonic())

    def count(self, job: ServedRequest) -> None:
        """Count one more try."""
        message = OutgoingMessage(
            self._names.dead_letters,
            job.counter,
            {"delivery_mode": PERSISTENT},
            b"",
            partial(self._on_counted, job),
        )
        self._publisher.publish_now(message)

    def _on_counted(self, job: ServedRequest, _: OutgoingMessage, error: AmqpRpcException | None) -> None:
        if error is None:
            self._tries.counted(job, monotonic())
            return
        logger.warning(
            "%s: a try of request %r was not counted (%s); giving it back",
            self._name,
            job.message_id,
            error,
            extra=request_fields(job.message_id, job.function),
            once=("was not counted", self._name),
        )
        self._tries.not_counted(job, monotonic())

    def forget(self, job: ServedRequest) -> None:
        """Delete the count of a request that is done with."""
        if job.counter:
            self._publisher.run(partial(delete_queue, job.counter), expendable=True)
            job.counter = ""

    # -- dead letters -----------------------------------------------------------------------

    def condemned(self, job: ServedRequest, queue: str) -> DeadLettered:
        """Return what the caller of a request that was tried too often is told; note it in the log.

        Args:
            job: The request.
            queue: Name of the queue that it came from.
        """
        ending = "IgnoreRequest" if job.client is not None else "an exception or IgnoreRequest"
        error = DeadLettered(
            f"given up after {self.limit} tries: each ended with the server, with its connection, or with "
            f"{ending}; the request from {queue!r} is in {self._names.dead_letters!r} now"
        )
        logger.warning(
            "%s: request %r: %s", self._name, job.message_id, error, extra=request_fields(job.message_id, job.function)
        )
        return error

    def bury(self, job: ServedRequest, queue: str) -> None:
        """Send the dead letter of a request; `ServedRequests.buried` or `not_buried` follows."""
        delivery, dead = job.delivery, self._names.dead_letters
        reason, tries = (TOO_MANY_TRIES, self.limit) if job.problem is None else (UNREADABLE, 1)
        known = delivery.exchange == self._names.request_exchange and not self._fanout
        properties = dead_letter_properties(
            delivery.properties,
            queue=queue,
            reason=reason,
            tries=tries,
            routing_key=delivery.routing_key if known else None,
        )
        properties = fitted(properties, room=0 if job.shortened else _ROOM, size=_size)
        if self._signatures is not None and not job.untrusted:
            properties = self._signatures.sign_letter(properties, delivery.body)
        self._publisher.publish_now(
            OutgoingMessage(dead, dead, properties, delivery.body, partial(self._on_buried, job))
        )

    def _on_buried(self, job: ServedRequest, _: OutgoingMessage, error: AmqpRpcException | None) -> None:
        if error is None:
            self._served.buried(job, job.reply, monotonic())
            return
        # What cannot be sent with its headers is sent without them.
        job.shortened = isinstance(error, MessageRejected)
        # The queue was deleted, or it is full.
        logger.error(
            "%s: dead letter of request %r: %s; trying again",
            self._name,
            job.message_id,
            error,
            extra=request_fields(job.message_id, job.function),
            once=("dead letter", self._name, type(error)),
        )
        dead = self._names.dead_letters
        self._publisher.run(self._topology.declare, key="dead letters", holds=(dead, dead))
        self._served.not_buried(job, monotonic())


def _size(properties: Mapping[str, Any]) -> int:
    """Return the bytes of a header frame; more than any frame has where a header cannot be encoded."""
    try:
        return len(encode_header(0, properties, 0))
    except Exception:  # noqa: BLE001  (which errors an encoder raises is not documented)
        return maxsize


class _TriesPorts:
    """What `Tries` asks of the guard, and of the requests."""

    def __init__(self, guard: DeliveryLimit, served: ServedRequests[ServedRequest]) -> None:
        self.ask = guard.ask
        self.count = guard.count
        self.can_publish = guard.can_publish
        self.wanted = served.wanted
        self.has_slot = served.has_slot
        self.proceed = served.proceed
        self.give_up = served.give_up
        self.hold = served.hold
