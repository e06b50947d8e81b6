"""A request handler between a consumer and a publisher that only note what they are told."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from gevent.event import AsyncResult

from amphora.core.finished import FinishedRequests
from amphora.core.messages import OutgoingMessage
from amphora.driver.incoming_message import IncomingMessage
from amphora.exceptions import AmqpRpcException, MessageTooLarge
from amphora.links.topology import Topology
from amphora.protocol.messages import Codec
from amphora.protocol.names import Names
from amphora.serializers import RpcJsonSerializer
from amphora.server.delivery_limit import DeliveryLimit
from amphora.server.registry import Registry
from amphora.server.request_handler import RequestHandler
from amphora.server.worker_pool import WorkerPool

__all__ = ["NAMES", "Notes", "handler_of"]

NAMES = Names("math")


class _Link:
    connected = True
    blocked = False


class Notes:
    """Stands for the publisher and for the consumer.

    Attributes:
        sent: What was published and is not decided about.
        actions: Actions on the control channel that wait for their results.
        settled: Tags, and what became of them.
    """

    largest = 1_000_000

    def __init__(self) -> None:
        self.sent: list[OutgoingMessage] = []
        self.actions: list[tuple[Any, AsyncResult[Any]]] = []
        self.settled: list[tuple[int, str]] = []
        self.channel = object()
        self.link = _Link()
        self.on_suspect: Any = None
        self._tag = 0

    # The publisher.

    def check_size(self, body: bytes) -> None:
        if len(body) > self.largest:
            raise MessageTooLarge("too large")

    def publish_now(self, message: OutgoingMessage) -> None:
        self.sent.append(message)

    def run(self, action: Callable[[Any], Any], **_: Any) -> AsyncResult[Any]:
        result: AsyncResult[Any] = AsyncResult()
        self.actions.append((action, result))
        return result

    def decide(self, error: AmqpRpcException | None = None) -> OutgoingMessage:
        """Decide about the oldest message."""
        message = self.sent.pop(0)
        message.done(message, error)
        return message

    def answer(self, value: Any = None) -> Any:
        """Answer the oldest action with a value, or with an error."""
        action, result = self.actions.pop(0)
        if isinstance(value, Exception):
            result.set_exception(value)
        else:
            result.set(value)
        return action

    # The consumer.

    def is_current(self, delivery: IncomingMessage) -> bool:
        return delivery.channel is self.channel

    def ack(self, delivery: IncomingMessage) -> None:
        self._settle(delivery, "ack")

    def reject(self, delivery: IncomingMessage, *, requeue: bool) -> None:
        self._settle(delivery, "give back" if requeue else "drop")

    def _settle(self, delivery: IncomingMessage, how: str) -> None:
        if self.is_current(delivery):
            self.settled.append((delivery.delivery_tag, how))

    def lose_channel(self) -> None:
        self.channel = object()

    def delivery(
        self,
        function: str = "work",
        *args: Any,
        body: bytes | None = None,
        redelivered: bool = False,
        **properties: Any,
    ) -> IncomingMessage:
        """Make a delivery, numbered from 1 on."""
        self._tag += 1
        if body is None:
            body = json.dumps({"func": function, "args": args, "kwargs": {}}).encode()
        given = {"message_id": f"m{self._tag}", "reply_to": "client", **properties}
        return IncomingMessage(
            self.channel, self._tag, redelivered, {name: each for name, each in given.items() if each is not None}, body
        )


def handler_of(notes: Any, *functions: Callable[..., Any], limit: int | None = None, **options: Any) -> RequestHandler:
    """Make a handler with some functions."""
    registry = Registry()
    for each in functions:
        registry.add(each)
    poison = None
    if limit is not None:
        poison = DeliveryLimit("test", names=NAMES, limit=limit, publisher=notes, topology=Topology([]))
    concurrency = options.pop("concurrency", 2)
    given: dict[str, Any] = {
        "queue": NAMES.request_queue,
        "names": NAMES,
        "codec": Codec(RpcJsonSerializer()),
        "registry": registry,
        "publisher": notes,
        "consumer": notes,
        "finished": FinishedRequests(count=100, size=100_000, age=60.0),
        "pool": WorkerPool(concurrency),
        "concurrency": concurrency,
        "ignore_delay": 0.01,
        "drop_ignored": False,
        "send_tracebacks": False,
        "poison": poison,
        "signatures": None,
        **options,
    }
    return RequestHandler("test", **given)
