"""The client of the hand-written loop."""

from gevent import monkey

monkey.patch_all()

import itertools
import json
import uuid
from typing import Any, cast

import amqp
from gevent.event import AsyncResult, Event

from peers.driver import run_client
from peers.pyamqp.link import (
    REQUEST_EXCHANGE,
    REQUEST_QUEUE,
    RESPONSE_EXCHANGE,
    Link,
)

_TIMEOUT = 60.0
_EXPIRES_MS = 30 * 60 * 1000


class PyAmqpCaller:
    """Calls `echo` and matches replies by message id."""

    def __init__(self, broker_url: str) -> None:
        self._name = uuid.uuid4().hex
        self._ids = itertools.count()
        self._pending: dict[str, AsyncResult[Any]] = {}
        self._link = Link(broker_url)
        self._link.declare_requests()
        queue = f"bench_pyamqp_{self._name}_response"
        self._link.channel.queue_declare(queue, durable=True, auto_delete=False, arguments={"x-expires": _EXPIRES_MS})
        self._link.channel.queue_bind(queue, RESPONSE_EXCHANGE, self._name)
        self._link.channel.basic_consume(queue, callback=self._on_reply)
        self._link.start()

    def call(self, payload: str) -> str:
        request = self._request(payload)
        result = self._pending[request.properties["message_id"]] = AsyncResult()
        self._link.publish(request, REQUEST_EXCHANGE, "", _nothing)
        reply = cast("dict[str, Any]", result.get(timeout=_TIMEOUT))
        if "exception" in reply:
            raise RuntimeError(reply["exception"])
        return cast(str, reply["result"])

    def send(self, payload: str) -> None:
        confirmed = Event()
        self._link.publish(self._request(payload), REQUEST_EXCHANGE, "", confirmed.set)
        if not confirmed.wait(_TIMEOUT):
            raise TimeoutError("no confirm from the broker")

    def close(self) -> None:
        self._link.close()

    def _request(self, payload: str) -> amqp.Message:
        message_id = f"{self._name}.{next(self._ids)}"
        return amqp.Message(
            json.dumps({"func": "echo", "args": [payload], "kwargs": {}}).encode(),
            content_type="application/json",
            delivery_mode=2,
            message_id=message_id,
            correlation_id=message_id,
            reply_to=self._name,
        )

    def _on_reply(self, message: amqp.Message) -> None:
        waiting = self._pending.pop(message.properties["message_id"], None)
        if waiting is not None:
            waiting.set(json.loads(message.body))
        self._link.channel.basic_ack(message.delivery_tag)


def _nothing() -> None:
    """A confirmed request needs nothing more: its reply is waited for."""


if __name__ == "__main__":
    run_client(
        PyAmqpCaller,
        packages=["amqp", "gevent"],
        guarantees="persistent, both ways confirmed (pipelined), request acknowledged after its "
        "confirmed reply, reply acknowledged; connects once, resends nothing",
        request_queue=REQUEST_QUEUE,
    )
