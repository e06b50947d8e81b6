"""A program that answers questions about servers, and calls, with whatever a test wants, as any client can."""

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from time import time
from typing import Any, Self

import amqp
import gevent

from tests.support.broker import Broker

__all__ = ["HOSTILE", "HostileServer", "healthy", "is_clean"]

#: Clears the screen, sets the title, colors, reports the cursor, turns text around, closes markup, begins a line that
#: was never printed, and half a surrogate pair.
HOSTILE = "evil\x1b[2J\x1b]0;owned\x07\x9b31m\u202eXT\u2066[/]\\[bold][link=x]\r\nError: forged\x00\x08\u2028\ud800"

Answer = Callable[[Mapping[str, Any]], Iterable[Any]]


def healthy(uuid: str = "healthy", **changed: Any) -> dict[str, Any]:
    """Return an answer that suits every question, with some values changed."""
    return {
        "uuid": uuid,
        "host": "host",
        "pid": 1,
        "version": "1.0",
        "started": time() - 60,
        "concurrency": 10,
        "now": time(),
        "functions": [{"name": "add", "signature": "(x)", "doc": "Add.", "module": "m"}],
        "stats": {"requests": 1, "errors": 0, "running": 0, "outbox": 0},
        "run_times": {"add": {"total": 0.5, "buckets": [[0.5, 1]]}},
        "connected": True,
        "consuming": True,
        "blocked": False,
        "loop_lag": 0.0,
        **changed,
    }


def is_clean(shown: str, *, lines: bool = True) -> bool:
    """Tell whether a terminal obeys nothing in a text, line breaks apart."""
    return all(each.isprintable() or (lines and each == "\n") for each in shown)


class HostileServer:
    """Answers every question to all servers of a service, and every call, until it is closed.

    Args:
        broker: Where.
        service: Name of the service; its exchanges and its queue are declared if they are not there.
        answers: Gives the values of the answers to a request; each is sent as a result.
        calls: Whether calls are answered too, with an exception whose texts are hostile.
    """

    def __init__(self, broker: Broker, service: str, answers: Answer, *, calls: bool = False) -> None:
        self._service = service
        self._answers = answers
        self._connection = broker.connect()
        self._channel: amqp.Channel = self._connection.channel()
        request, response = f"rpc_{service}_request", f"rpc_{service}_response"
        self._response = response
        for exchange in (request, response):
            self._channel.exchange_declare(exchange, "direct", durable=True, auto_delete=False)
        questions = self._channel.queue_declare("", exclusive=True).queue
        self._channel.queue_bind(questions, request, "amphora.control")
        self._channel.basic_consume(questions, no_ack=True, callback=self._answer)
        self._channel.queue_declare(request, durable=True, auto_delete=False)
        self._channel.queue_bind(request, request, "")
        if calls:
            self._channel.basic_consume(request, no_ack=True, callback=self._refuse)
        self._reader = gevent.spawn(self._read)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._reader.kill()
        with suppress(OSError):
            self._connection.close()

    def _read(self) -> None:
        while True:
            self._connection.drain_events()

    def _answer(self, message: amqp.Message) -> None:
        for value in self._answers(json.loads(message.body)):
            self._reply(message, {"result": value})

    def _refuse(self, message: amqp.Message) -> None:
        if json.loads(message.body)["func"].startswith("amphora."):
            self._answer(message)
            return
        error = {"type": HOSTILE, "args": [HOSTILE, {HOSTILE: 1}], "traceback": f"Traceback:\n{HOSTILE}"}
        self._reply(message, {"exception": error})

    def _reply(self, message: amqp.Message, body: Any) -> None:
        if "reply_to" not in message.properties:
            return
        reply = amqp.Message(
            json.dumps(body),
            content_type="application/json",
            message_id=message.properties["message_id"],
            correlation_id=message.properties["message_id"],
        )
        self._channel.basic_publish(reply, self._response, message.properties["reply_to"])
