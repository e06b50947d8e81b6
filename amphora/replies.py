"""A server's replies, each until the broker has it or its client is gone."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any

import gevent
from gevent.event import AsyncResult

from amphora.exceptions import AmqpRpcException, MessageTooLarge, Unroutable, WrongRequest
from amphora.job import Job
from amphora.links.outgoing import Outgoing
from amphora.links.publisher import Publisher
from amphora.links.topology import bind_queue
from amphora.log_fields import request_fields
from amphora.protocol.finished import Reply
from amphora.protocol.messages import Codec, reply_properties
from amphora.protocol.names import Names
from amphora.protocol.signatures import Signatures

__all__ = ["Replies"]

logger = logging.getLogger(__name__)

#: Seconds until a reply that the broker refused is published again.
_AGAIN = 1.0

#: How often the route of one reply is restored: whoever deletes faster than that has to stop first.
_RESTORES = 10


class Replies:
    """Encodes replies, and publishes each until the broker has confirmed it.

    Args:
        name: What operators see in the log.
        names: The service's AMQP names.
        codec: Encodes them.
        publisher: Takes them.
        send_tracebacks: Whether a remote exception carries its traceback.
        signatures: Signs them; None where nobody signs.
        finish: Told of a job that is done with: its reply is confirmed, or nobody can be given one.

    Attributes:
        undeliverable: How many were dropped: their clients are gone, or the broker takes none of that size.
    """

    def __init__(
        self,
        name: str,
        *,
        names: Names,
        codec: Codec,
        publisher: Publisher,
        send_tracebacks: bool,
        signatures: Signatures | None,
        finish: Callable[[Job], None],
    ) -> None:
        self.undeliverable = 0
        self._name = name
        self._names = names
        self._codec = codec
        self._publisher = publisher
        self._send_tracebacks = send_tracebacks
        self._signatures = signatures
        self._finish = finish

    def send_result(self, job: Job, value: Any) -> None:
        """Reply with what a function returned."""
        self.send(job, Reply(*self._codec.encode_result(value, content_type=job.content_type)))

    def send_error(self, job: Job, error: BaseException) -> None:
        """Reply with what a function raised, or with what is wrong with the request."""
        text = None
        if not isinstance(error, WrongRequest):
            logger.debug(
                "%s: request %r raised",
                self._name,
                job.message_id,
                exc_info=error,
                extra=request_fields(job.message_id, job.function),
            )
            if self._send_tracebacks:
                text = "".join(traceback.format_exception(error))
        self.send(job, Reply(*self._codec.encode_error(error, content_type=job.content_type, traceback=text)))

    def send(self, job: Job, reply: Reply) -> None:
        """Send an encoded reply, or say instead that it is too large; where nobody waits for one, keep it only."""
        try:
            self._publisher.check_size(reply.body)
        except MessageTooLarge as error:
            reply = self._too_large(job, error)
        job.reply = reply
        if job.reply_to is None:
            self._finish(job)
            return
        properties = reply_properties(job.message_id, content_type=reply.content_type)
        # A signed answer to what anybody may have sent would be one to the genuine request with that id.
        if self._signatures is not None and not job.untrusted:
            request = job.deliveries[0].properties
            properties = self._signatures.sign_reply(properties, reply.body, client=job.reply_to, request=request)
        done = partial(self._on_sent, job)
        message = Outgoing(self._names.response_exchange, job.reply_to, properties, reply.body, done)
        self._publisher.publish_now(message)

    def _too_large(self, job: Job, error: MessageTooLarge) -> Reply:
        logger.warning(
            "%s: reply to request %r: %s",
            self._name,
            job.message_id,
            error,
            extra=request_fields(job.message_id, job.function),
        )
        return Reply(*self._codec.encode_error(error, content_type=job.content_type))

    def _on_sent(self, job: Job, message: Outgoing, error: AmqpRpcException | None) -> None:
        """The broker has confirmed a reply, or refused it."""
        if error is None:
            self._finish(job)
        elif isinstance(error, Unroutable):
            self._restore_route(job, message)
        elif isinstance(error, MessageTooLarge) and not job.shortened:
            job.shortened = True
            self.send(job, self._too_large(job, error))
        elif isinstance(error, MessageTooLarge):
            self._abandon(job, str(error))
        else:
            logger.warning(
                "%s: reply to request %r: %s; trying again",
                self._name,
                job.message_id,
                error,
                extra=request_fields(job.message_id, job.function),
            )
            gevent.spawn_later(_AGAIN, self._publisher.publish_now, message)

    def _restore_route(self, job: Job, message: Outgoing) -> None:
        """No queue took a reply: bind the client's queue again if it is still there.

        Its binding goes away when somebody deletes the response exchange, perhaps several times; its
        queue, when the client has been gone for long.
        """
        if job.restores >= _RESTORES:
            self._abandon(job, f"the queue of client {job.reply_to!r} is deleted again and again")
            return
        job.restores += 1
        try:
            queue = self._names.response_queue(message.routing_key)
        except ValueError:
            self._abandon(job, f"client {job.reply_to!r} is gone")
            return

        def then(result: AsyncResult[Any]) -> None:
            if result.successful():
                self._publisher.publish_now(message)
            elif job.missed:
                self._abandon(job, f"client {job.reply_to!r} is gone")
            else:
                job.missed = True
                # Its queue may have been deleted under a client that is about to declare it again.
                gevent.spawn_later(_AGAIN, self._publisher.publish_now, message)

        bind = partial(bind_queue, queue, self._names.response_exchange, message.routing_key)
        self._publisher.run(bind).rawlink(then)

    def _abandon(self, job: Job, why: str) -> None:
        self.undeliverable += 1
        logger.warning(
            "%s: dropped the reply to request %r: %s",
            self._name,
            job.message_id,
            why,
            extra=request_fields(job.message_id, job.function),
        )
        self._finish(job)
