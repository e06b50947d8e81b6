"""What every server answers about itself: the reserved functions ``amphora.ping`` and those beside it.

They can be called like any other function, and then one server of the service answers. Asked through the control
queue (of fan-out servers: through their own, with a header), all of them do, at once: what the service is busy with is
not waited for.
"""

from __future__ import annotations

import logging
import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from time import monotonic, time
from typing import Any

from amphora.core.messages import OutgoingMessage
from amphora.driver.incoming_message import IncomingMessage
from amphora.durations import Histogram
from amphora.endpoint.health import Health
from amphora.endpoint.log_fields import request_fields
from amphora.exceptions import WrongRequest
from amphora.links.consumer import Consumer
from amphora.links.publisher import Publisher
from amphora.links.subscription import Subscription
from amphora.links.topology import control_queue, direct_exchange
from amphora.logs.note_log import NoteLogger
from amphora.protocol.headers import CONTROL
from amphora.protocol.messages import Codec, message_id_of, reply_properties
from amphora.protocol.names import CONTROL_KEY, RESERVED_PREFIX, Names
from amphora.protocol.signatures import Signatures
from amphora.server.descriptions import describe_function
from amphora.server.registry import Ignored, Raised, Registry, Returned
from amphora.server.token_bucket import TokenBucket
from amphora.version import __version__

__all__ = ["AHEAD", "ControlRequests", "introspection_of"]

logger = NoteLogger(__name__)

#: How many requests the broker may send ahead.
_PREFETCH = 100

#: How many requests a fan-out server takes beyond those that it may run: there may be a question among them.
AHEAD = 100

#: Milliseconds after which the broker deletes a queue that never got its consumer.
_EXPIRES = 60_000

#: Characters of a docstring that travel, at most.
_DOCSTRING = 4000

#: Questions to all servers that are answered per second, and how many more after a pause. Anyone who may publish
#: requests may ask, and no limit of concurrency holds.
_RATE, _BURST = 300.0, 600.0

#: Bytes of an answer that cost as much as a question.
_COSTLY = 16_384

#: Encodings of an answer that are kept.
_ENCODINGS = 8


def introspection_of(
    *,
    uuid: str,
    concurrency: int,
    functions: Callable[[], Mapping[str, Callable[..., Any]]],
    stats: Callable[[], dict[str, int]],
    run_times: Callable[[], dict[str, Histogram]],
    health: Callable[[], Health],
) -> dict[str, Callable[[], Any]]:
    """Return the reserved functions of a server, by name.

    Args:
        uuid: Identifier of the server, in every answer.
        concurrency: How many requests it runs at the same time.
        functions: Gives the functions of the service.
        stats: Gives `AmqpRpcServer.stats`.
        run_times: Gives `AmqpRpcServer.run_times`.
        health: Gives the same as `AmqpRpcServer.health`, without waiting.
    """
    started = time()
    described: dict[str, Callable[..., Any]] = {}
    description: dict[str, Any] = {}

    def identity() -> dict[str, Any]:
        return {"uuid": uuid, "host": platform.node(), "pid": os.getpid(), "now": time()}

    def ping() -> dict[str, Any]:
        """Tell which server this is, and where and since when it runs."""
        return {
            **identity(),
            "version": __version__,
            "started": started,
            "concurrency": concurrency,
        }

    def describe() -> dict[str, Any]:
        """Tell the functions, with signature, docstring and module."""
        nonlocal described, description
        there = dict(functions())
        if not description or there != described:
            # The same object for as long as it holds: its encoding is kept too.
            found = [_described(name, each) for name, each in sorted(there.items())]
            described, description = there, {"uuid": uuid, "functions": found}
        return description

    def count() -> dict[str, Any]:
        """Tell what the server has done, and what it is doing."""
        taken = {name: each.encode() for name, each in run_times().items()}
        return {"uuid": uuid, "stats": stats(), "run_times": taken}

    def tell_health() -> dict[str, Any]:
        """Return whether the server can do its work."""
        found = health()
        return {**identity(), "ready": found.ready, **asdict(found)}

    own = {"ping": ping, "functions": describe, "stats": count, "health": tell_health}
    return {f"{RESERVED_PREFIX}{name}": each for name, each in own.items()}


def _described(name: str, function: Callable[..., Any]) -> dict[str, Any]:
    told = describe_function(function)
    return {"name": name, "signature": told.signature, "doc": told.doc[:_DOCSTRING], "module": told.module}


class ControlRequests:
    """Answers requests for reserved functions that are for all servers, beside the service's own requests.

    Args:
        name: What operators see in the log.
        names: The service's AMQP names.
        uuid: Identifier of the server.
        codec: Reads requests and encodes replies.
        functions: The reserved functions.
        publisher: Takes the replies.
        consumer: Brings the requests.
        signatures: Checks requests and signs replies; None without signing keys.
        own_queue: Whether they have a queue of their own; otherwise they come among the others, see `sort_out`.
    """

    def __init__(
        self,
        name: str,
        *,
        names: Names,
        uuid: str,
        codec: Codec,
        functions: Mapping[str, Callable[[], Any]],
        publisher: Publisher,
        consumer: Consumer,
        signatures: Signatures | None,
        own_queue: bool,
    ) -> None:
        self._name = name
        self._names = names
        self._own_queue = own_queue
        self._codec = codec
        self._publisher = publisher
        self._consumer = consumer
        self._signatures = signatures
        self._registry = Registry()
        for each, function in functions.items():
            self._registry.add(function, each)
        self._uuid = uuid
        self._allowance = TokenBucket(_RATE, _BURST)
        self._encoded: dict[Any, tuple[Any, str, bytes]] = {}
        self._subscription: Subscription | None = None

    @property
    def among_others(self) -> bool:
        """Whether they come in a queue with other requests."""
        return not self._own_queue

    def start(self) -> None:
        """Begin to take them, where the broker lets us."""
        if self._own_queue and self._subscription is None:
            exchange = direct_exchange(self._names.request_exchange)
            queue = control_queue(self._names.control_queue(self._uuid), exchange, CONTROL_KEY, _EXPIRES)
            self._subscription = self._consumer.subscribe(
                queue.name, prefetch=_PREFETCH, deliver=self.deliver, own=False, optional=queue
            )

    def stop(self) -> Subscription | None:
        """Take no more of them; return the subscription that ends with that."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            self._consumer.cancel(subscription)
        return subscription

    def sort_out(self, deliver: Callable[[IncomingMessage], None]) -> Callable[[IncomingMessage], None]:
        """Return what takes the deliveries of a queue, answers the questions among them, and gives on the others."""

        def take(delivery: IncomingMessage) -> None:
            if CONTROL in (delivery.properties.get("headers") or ()):
                self.deliver(delivery)
            else:
                deliver(delivery)

        return take

    def deliver(self, delivery: IncomingMessage) -> None:
        """Answer a request; runs in the greenlet that owns the connection, and does not block."""
        properties = delivery.properties
        reply_to = properties.get("reply_to")
        # Its deadline is not looked at: clocks may differ, which is one thing that is to be found out, and the broker
        # drops a question that has waited for too long.
        if not reply_to or not self._may_answer():
            self._consumer.ack(delivery)
            return
        version = 1
        # Only these answers are signed: the refusal of an untrusted request would be one to the genuine request with
        # that id.
        signs = self._signatures
        outcome: Returned | Raised | Ignored
        try:
            if self._signatures is not None:
                version = self._signatures.check_request(properties, delivery.body, routing_key=delivery.routing_key)
                self._signatures.check_age(properties)
        except WrongRequest as error:
            outcome, signs = Raised(error), None
        else:
            outcome = self._answer(delivery, moved=signs is not None and version == 1)
        asked_in, message_id = properties.get("content_type"), message_id_of(properties)
        if isinstance(outcome, Returned):
            content_type, body = self._encode(outcome.value, asked_in)
        elif isinstance(outcome, Raised):
            logger.log(
                logging.DEBUG,
                "%s: request %r to all servers failed",
                self._name,
                message_id,
                exc_info=outcome.error,
                extra=request_fields(message_id),
            )
            content_type, body = self._codec.encode_error(outcome.error, content_type=asked_in)
        else:
            self._consumer.ack(delivery)
            return
        self._allowance.spend(1 + len(body) // _COSTLY)
        answer = reply_properties(message_id, content_type=content_type)
        if signs is not None:
            answer = signs.sign_reply(answer, body, client=reply_to, version=version)
        done = partial(self._on_sent, delivery)
        self._publisher.publish_now(OutgoingMessage(self._names.response_exchange, reply_to, answer, body, done))

    def _may_answer(self) -> bool:
        if self._allowance.has_left(monotonic()):
            return True
        logger.warning(
            "%s: more questions about this server than the %d per second that it answers: leaving some out",
            self._name,
            _RATE,
            once="too many questions",
        )
        return False

    def _encode(self, value: Any, asked_in: Any) -> tuple[str, bytes]:
        """Encode an answer, or return the encoding of the same object from before."""
        known = self._encoded.get(asked_in)
        if known is not None and known[0] is value:
            return known[1:]
        content_type, body = self._codec.encode_result(value, content_type=asked_in)
        if len(self._encoded) >= _ENCODINGS:
            self._encoded.clear()
        self._encoded[asked_in] = value, content_type, body
        return content_type, body

    def _answer(self, delivery: IncomingMessage, *, moved: bool) -> Returned | Raised | Ignored:
        """Run the reserved function that a trusted request names.

        Args:
            delivery: The request.
            moved: Whether it may be a request to one server that was moved here: version 1 of the signature does not
                cover the routing key. Then only reserved functions are answered.
        """
        try:
            request = self._codec.read_request(delivery.properties, delivery.body)
        except WrongRequest as error:
            return Ignored() if moved else Raised(error)
        if moved and request.function not in self._registry:
            return Ignored()
        return self._registry.execute(request)

    def _on_sent(self, delivery: IncomingMessage, message: OutgoingMessage, error: Exception | None) -> None:
        # Only now, so that no more answers wait than the broker sends ahead. One that could not be sent is not tried
        # again: the asker repeats its question.
        self._consumer.ack(delivery)
        if error is not None:
            logger.debug(
                "%s: an answer to %r could not be sent: %s",
                self._name,
                message.routing_key,
                error,
                extra=request_fields(message_id_of(delivery.properties)),
            )
