"""A server's replies: encoded, signed, and published to where their clients take them.

What is done with a reply that the broker does not take, `amphora.core.requests` decides.

A reply goes to the response exchange, whose bindings only clients of the service have. A foreign client may give the
name of a queue of its own as ``reply_to`` instead, or RabbitMQ's direct reply-to: such a reply goes to the default
exchange, which delivers to the queue of that name. Never to any other exchange, and never to a queue whose name is one
of Amphora's, of this service or of another: a user who may only send requests must not write to those through a server.
Nor is a request answered there that is not trusted.
"""

from __future__ import annotations

import logging
import re
import traceback
from collections import OrderedDict
from functools import partial
from time import monotonic
from typing import Any

from gevent.event import AsyncResult

from amphora.core.finished import Reply
from amphora.core.messages import OutgoingMessage
from amphora.core.requests import ServedRequests
from amphora.endpoint.log_fields import request_fields
from amphora.exceptions import AmqpRpcException, BrokerError, MessageRejected, MessageTooLarge, Unroutable, WrongRequest
from amphora.links.publisher import Publisher
from amphora.links.topology import ask_for_default_exchange, bind_queue
from amphora.logs.note_log import NoteLogger
from amphora.protocol.messages import Codec, reply_properties
from amphora.protocol.names import Names
from amphora.protocol.signatures import Signatures
from amphora.server.served_request import ServedRequest

__all__ = ["Replies"]

logger = NoteLogger(__name__)

#: Clients that are remembered to take their replies from the default exchange.
_REMEMBERED = 1000

#: Seconds after which a server that may not publish to the default exchange asks again.
_REFUSED = 60.0

#: Names of queues that get no replies through the default exchange: those of Amphora's services.
_NOT_DIRECTLY = re.compile("rpc_").match

#: Names of RabbitMQ's direct reply-to begin with it: https://www.rabbitmq.com/docs/direct-reply-to
_DIRECT = "amq.rabbitmq.reply-to."

#: Uuids as Amphora's clients make them: no client that waits at the default exchange.
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z").match


class Replies:
    """Encodes replies, and publishes each until the broker has confirmed it.

    Args:
        name: What operators see in the log.
        names: The service's AMQP names.
        codec: Encodes them.
        publisher: Takes them.
        send_tracebacks: Whether a remote exception carries its traceback.
        signatures: Signs them; None where nothing is signed.
        served: The requests; told what becomes of the replies.

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
        served: ServedRequests[ServedRequest],
    ) -> None:
        self.undeliverable = 0
        self._name = name
        self._names = names
        self._exchange = names.response_exchange
        self._codec = codec
        self._publisher = publisher
        self._send_tracebacks = send_tracebacks
        self._signatures = signatures
        self._served = served
        self._direct: OrderedDict[str, None] = OrderedDict()
        #: Whether replies may be published to the default exchange, as far as that was asked.
        self._allowed = False
        self._refused_until = 0.0
        #: Clients whose queues are to be looked for, one at a time: each lookup holds up the messages behind it.
        self._lookups: OrderedDict[str, None] = OrderedDict()

    def encode_result(self, job: ServedRequest, value: Any) -> Reply:
        """Return the reply with what a function returned; if it is too large, the reply that says so."""
        content_type, body = self._codec.encode_result(value, content_type=job.content_type)
        reply = Reply(content_type, body)
        return self._sized(job, reply) if len(body) > self._publisher.largest else reply

    def encode_error(self, job: ServedRequest, error: BaseException, *, of_function: bool = False) -> Reply:
        """Return the reply with what a function raised, or with what is wrong with the request."""
        text = None
        if of_function or not isinstance(error, WrongRequest):
            logger.log(
                logging.DEBUG,
                "%s: request %r raised",
                self._name,
                job.message_id,
                exc_info=error,
                extra=request_fields(job.message_id, job.function),
            )
            if self._send_tracebacks:
                text = "".join(traceback.format_exception(error))
        encoded = self._codec.encode_error(
            error, content_type=job.content_type, traceback=text, of_function=of_function
        )
        return self._sized(job, Reply(*encoded))

    def send(self, job: ServedRequest) -> None:
        """Publish the reply of a request; an event of `ServedRequests` follows."""
        reply, client = job.reply, job.client
        if reply is None or client is None:
            raise ValueError(f"no reply to {job.message_id!r}")
        properties = reply_properties(job.message_id, content_type=reply.content_type)
        correlation_id = job.delivery.properties.get("correlation_id")
        if correlation_id != job.message_id and _is_text(correlation_id):
            # Clients of other libraries go by it, whatever id the message has besides.
            properties["correlation_id"] = correlation_id
        # A signed answer to what anybody may have sent would be one to the genuine request with that id.
        if self._signatures is not None and not job.untrusted:
            properties = self._signatures.sign_reply(properties, reply.body, client=client, version=job.version)
        exchange = self._exchange
        if client in self._direct and not job.untrusted:
            exchange = ""
        done = partial(self._on_sent, job)
        self._publisher.publish_now(OutgoingMessage(exchange, client, properties, reply.body, done))

    def restore_route(self, job: ServedRequest) -> None:
        """Find the queue of a client again; `ServedRequests.routed` follows.

        Its binding is lost when the response exchange is deleted; its queue, when the client has been gone for long.
        """
        client = job.client
        if client is None:
            return
        if client in self._direct:
            # It has no queue of that name either.
            del self._direct[client]
            self._served.routed(client, False, monotonic())
            return
        self._lookups[client] = None
        if len(self._lookups) == 1:
            self._look_up(client)

    def abandoned(self, job: ServedRequest, why: str) -> None:
        """Take note that a reply was dropped."""
        self.undeliverable += 1
        logger.warning(
            "%s: dropped the reply to request %r: %s",
            self._name,
            job.message_id,
            why,
            extra=request_fields(job.message_id, job.function),
            once=("dropped the reply", self._name),
        )

    def _sized(self, job: ServedRequest, reply: Reply) -> Reply:
        try:
            self._publisher.check_size(reply.body)
        except MessageTooLarge as error:
            return self._too_large(job, error)
        return reply

    def _too_large(self, job: ServedRequest, error: MessageRejected | MessageTooLarge) -> Reply:
        logger.warning(
            "%s: reply to request %r: %s",
            self._name,
            job.message_id,
            error,
            extra=request_fields(job.message_id, job.function),
        )
        return Reply(*self._codec.encode_error(error, content_type=job.content_type))

    def _on_sent(self, job: ServedRequest, message: OutgoingMessage, error: AmqpRpcException | None) -> None:
        """The broker has confirmed a reply, or refused it."""
        served, now = self._served, monotonic()
        if error is None:
            served.replied(job, now)
        elif isinstance(error, Unroutable):
            if message.exchange == "" and message.routing_key.startswith(_DIRECT):
                # The broker says so of each, delivered or not: there is no queue. It cannot be told whether the client
                # is gone.
                served.replied(job, now)
            elif job.untrusted:
                # Anybody may have sent it: it must not cost a lookup, nor make a client known as gone.
                served.reply_lost(job, f"client {job.client!r} has no queue", now)
            else:
                served.unroutable(job, now)
        elif isinstance(error, (MessageRejected, MessageTooLarge)) and not job.shortened:
            job.shortened = True
            job.reply = self._too_large(job, error)
            self.send(job)
        elif isinstance(error, (MessageRejected, MessageTooLarge)) or not isinstance(error, BrokerError):
            served.reply_lost(job, str(error), now)
        else:
            logger.warning(
                "%s: reply to request %r: %s; trying again",
                self._name,
                job.message_id,
                error,
                extra=request_fields(job.message_id, job.function),
                once=("trying again", self._name, message.routing_key),
            )
            served.nacked(job, now)

    # -- where clients take their replies ---------------------------------------------------

    def _look_up(self, client: str) -> None:
        if client.startswith(_DIRECT):
            self._look_directly(client)
            return
        try:
            queue = self._names.response_queue(client)
        except ValueError:
            self._look_directly(client)
            return
        bind = partial(bind_queue, queue, self._names.response_exchange, client)
        self._publisher.run(bind).rawlink(partial(self._on_bound, client))

    def _on_bound(self, client: str, result: AsyncResult[Any]) -> None:
        if result.successful():
            self._found(client, True)
        else:
            self._look_directly(client)

    def _look_directly(self, client: str) -> None:
        if _NOT_DIRECTLY(client) or _UUID(client) or monotonic() < self._refused_until:
            self._found(client, False)
        elif self._allowed:
            self._send_directly(client)
        else:
            # Whether there is a queue cannot be asked: it may belong to a connection alone (exclusive).
            self._publisher.run(ask_for_default_exchange).rawlink(partial(self._on_asked, client))

    def _on_asked(self, client: str, result: AsyncResult[Any]) -> None:
        if result.successful():
            self._allowed = True
            self._send_directly(client)
        else:
            self._refused_until = monotonic() + _REFUSED
            self._found(client, False)

    def _send_directly(self, client: str) -> None:
        self._direct[client] = None
        if len(self._direct) > _REMEMBERED:
            self._direct.popitem(last=False)
        self._found(client, True)

    def _found(self, client: str, found: bool) -> None:
        """Tell what became of a lookup, and begin the next one."""
        served, lookups = self._served, self._lookups
        while True:
            lookups.pop(client, None)
            served.routed(client, found, monotonic())
            if not lookups:
                return
            client, found = next(iter(lookups)), False
            if served.is_parked(client):
                self._look_up(client)
                return


def _is_text(value: Any) -> bool:
    """Return whether a property is text that every client can read."""
    try:
        return isinstance(value, str) and bool(value.encode())
    except UnicodeEncodeError:
        return False
