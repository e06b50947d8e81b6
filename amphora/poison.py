"""Requests that end their servers: their tries are counted, and those with too many dead-lettered.

A classic queue says that it has delivered a request before (``redelivered``), but not how often. A quorum
queue counts deliveries, but a server has up to ``concurrency`` requests at a time: when one of them kills
it, the count of all the others rises too (https://github.com/rabbitmq/rabbitmq-website/pull/2207). So
servers count tries themselves, where no server's death takes the count along: each request that comes
again has a queue of its own on the broker, into which an empty message is put, confirmed, before each
further try. The request itself stays where it is: it is neither copied nor moved to the end of its queue.

The last try is made alone: a server begins no other request that has come again meanwhile, and counts the
try only when its turn has come. So what is given up ended its server while no other suspect ran there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from functools import partial

import gevent
from gevent.event import AsyncResult, Event

from amphora.exceptions import AmqpRpcException, BrokerError, DeadLettered
from amphora.job import Job
from amphora.links.outgoing import Outgoing
from amphora.links.publisher import Publisher
from amphora.links.topology import Topology, delete_queue, open_counter
from amphora.log_fields import request_fields
from amphora.protocol.dead_letters import TOO_MANY_TRIES, UNREADABLE, dead_letter_properties, identity
from amphora.protocol.messages import PERSISTENT
from amphora.protocol.names import Names
from amphora.protocol.signatures import Signatures
from amphora.turns import Turns

__all__ = ["Attempt", "PoisonGuard"]

logger = logging.getLogger(__name__)

#: Seconds to wait for the broker to count a try; then the request goes back to its queue.
_ANSWER = 10.0

#: Seconds until a dead letter that the broker refused is published again.
_AGAIN = 1.0

#: Milliseconds for which the broker keeps the count of a request that is not tried again.
_KEPT = 24 * 60 * 60 * 1000


class Attempt(Enum):
    """What is to be done with a request that has come again."""

    RUN = "run"
    GIVE_BACK = "give back"
    BURY = "bury"


class PoisonGuard:
    """Counts the tries of the requests that come again.

    Args:
        name: What operators see in the log.
        names: The service's AMQP names.
        limit: How many tries a request has, the first one included; at least two.
        publisher: Counts, and takes the dead letters.
        topology: Declares the dead-letter exchange and queue.
        signatures: Marks the dead letters; None where nobody signs.
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
        self._turns = Turns()
        # A name too long is to be said now, not when the first request comes again.
        names.tries_queue(identity({}, b""))

    @contextmanager
    def attempt(self, job: Job, wanted: Callable[[], bool]) -> Iterator[Attempt]:
        """Count a try of a request that was delivered before; the try is made within the context.

        Waits for the broker; before a last try, for all others of this server; before any other, for last ones.

        Args:
            job: The request.
            wanted: Asked after a wait: whether the try is still to be made.
        """
        counter = self._counter(job)
        try:
            before = self._tries_before(counter)
        except BrokerError as error:
            # As without a guard: neither lose the request, nor hold it up for ever.
            logger.error(
                "%s: the tries of request %r cannot be counted: %s",
                self._name,
                job.message_id,
                error,
                extra=request_fields(job.message_id, job.function),
            )
            yield Attempt.RUN
            return
        job.settled = Event()
        if before is None:
            yield Attempt.GIVE_BACK
        elif before >= self.limit:
            yield Attempt.BURY
        elif before < self.limit - 1:
            with self._turns.together():
                yield self._count(job, counter) if wanted() else Attempt.GIVE_BACK
        else:
            with self._turns.alone():
                yield self._count(job, counter) if wanted() else Attempt.GIVE_BACK
                # Another one may end the server: not before this one's count is on its way out of the broker.
                job.settled.wait()

    def forget(self, job: Job) -> None:
        """Delete the count of a request that is done with."""
        self._publisher.run(partial(delete_queue, self._counter(job)))

    def condemn(self, job: Job, queue: str, *, then: Callable[[DeadLettered], None]) -> None:
        """Dead-letter a request that was tried too often.

        Args:
            job: The request.
            queue: Name of the queue that it came from.
            then: Called when the broker has confirmed the dead letter, with what to tell the caller.
        """
        error = DeadLettered(
            f"given up after {self.limit} tries: each ended with the server, with its connection, or with "
            f"IgnoreRequest; the request from {queue!r} is in {self._names.dead_letters!r} now"
        )
        logger.warning(
            "%s: request %r: %s", self._name, job.message_id, error, extra=request_fields(job.message_id, job.function)
        )
        self._bury(job, queue, TOO_MANY_TRIES, self.limit, partial(then, error))

    def bury(self, job: Job, queue: str, *, then: Callable[[], None]) -> None:
        """Dead-letter a request that nobody can read, then call ``then``."""
        self._bury(job, queue, UNREADABLE, 1, then)

    def _bury(self, job: Job, queue: str, reason: str, tries: int, then: Callable[[], None]) -> None:
        job.apart = True
        delivery, dead = job.deliveries[0], self._names.dead_letters
        known = delivery.exchange == self._names.request_exchange and not self._fanout
        properties = dead_letter_properties(
            delivery.properties,
            queue=queue,
            reason=reason,
            tries=tries,
            routing_key=delivery.routing_key if known else None,
        )
        if self._signatures is not None and not job.untrusted:
            properties = self._signatures.sign_letter(properties, delivery.body)

        def done(message: Outgoing, error: AmqpRpcException | None) -> None:
            if error is None:
                then()
                return
            # Somebody has deleted the queue, or it is full.
            logger.error(
                "%s: dead letter of request %r: %s; trying again",
                self._name,
                job.message_id,
                error,
                extra=request_fields(job.message_id, job.function),
            )
            self._publisher.run(self._topology.declare)
            gevent.spawn_later(_AGAIN, self._publisher.publish_now, message)

        self._publisher.publish_now(Outgoing(dead, dead, properties, delivery.body, done))

    # -- counts -----------------------------------------------------------------------------

    def _counter(self, job: Job) -> str:
        delivery = job.deliveries[0]
        return self._names.tries_queue(identity(delivery.properties, delivery.body))

    def _tries_before(self, counter: str) -> int | None:
        """Return how often a request was begun; None if the broker does not say in time.

        Raises:
            BrokerError: The broker refuses.
        """
        action = partial(open_counter, counter, self._names.dead_letters, _KEPT)
        answer = self._publisher.run(action)
        if not answer.wait(_ANSWER) and not answer.ready():
            return None
        # Its first try, whose delivery was not a second one, is not in the count.
        return int(answer.get() or 0) + 1

    def _count(self, job: Job, counter: str) -> Attempt:
        """Count one more try; it may be made when the broker has confirmed that."""
        outcome: AsyncResult[AmqpRpcException | None] = AsyncResult()
        message = Outgoing(
            self._names.dead_letters,
            counter,
            {"delivery_mode": PERSISTENT},
            b"",
            lambda _, error: outcome.set(error),
        )
        self._publisher.publish_now(message)
        outcome.wait(_ANSWER)
        if outcome.ready() and outcome.value is None:
            return Attempt.RUN
        logger.warning(
            "%s: a try of request %r was not counted (%s); giving it back",
            self._name,
            job.message_id,
            outcome.value,
            extra=request_fields(job.message_id, job.function),
        )
        # Do not play ball with the broker.
        gevent.sleep(_AGAIN)
        return Attempt.GIVE_BACK
