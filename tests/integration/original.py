"""A client and a server that declare, write and read as the original 0.1.3 did, on plain py-amqp."""

import json
from typing import Any
from uuid import uuid4

import amqp

from tests.support.eventually import wait_until


class OriginalClient:
    """What a client of 0.1.3 puts on the wire.

    Args:
        channel: What it declares and publishes on.
        service: The service name.
        kind: Type of the request exchange; ``fanout`` for the original's fan-out client.
    """

    def __init__(self, channel: amqp.Channel, service: str, *, kind: str = "direct") -> None:
        self.channel = channel
        self.uuid = str(uuid4())
        self.request_exchange = f"rpc_{service}_request"
        self.response_queue = f"rpc_{service}_{self.uuid}_response"
        declare_request_queue(channel, service, kind)
        channel.exchange_declare(f"rpc_{service}_response", "direct", durable=True, auto_delete=False)
        channel.queue_declare(self.response_queue, durable=True, exclusive=False, auto_delete=False)
        channel.queue_bind(self.response_queue, f"rpc_{service}_response", self.uuid)

    def send(self, body: bytes, routing_key: str = "", **properties: Any) -> str:
        """Publish a request's body with the original's properties, and others on top; return its message id."""
        given = {"delivery_mode": 2, "message_id": str(uuid4()), "reply_to": self.uuid, **properties}
        self.channel.basic_publish(
            amqp.Message(body, **{name: value for name, value in given.items() if value is not None}),
            self.request_exchange,
            routing_key,
        )
        return str(given["message_id"])

    def call(self, func: str, *args: Any, **kwargs: Any) -> Any:
        """Call a function and return the decoded body of the reply to it."""
        message_id = self.send(encode({"func": func, "args": args, "kwargs": kwargs}))
        reply = self.reply()
        assert reply.properties["message_id"] == message_id, "0.1.3 would not know what it answers"
        return json.loads(reply.body)

    def reply(self) -> amqp.Message:
        """Wait for a reply; its body is the bytes that were sent."""
        return taken(self.channel, self.response_queue)


class OriginalServer:
    """What a server of 0.1.3 puts on the wire.

    Args:
        channel: What it declares and publishes on.
        service: The service name.
        kind: Type of the request exchange; ``fanout`` for the original's fan-out server.
    """

    def __init__(self, channel: amqp.Channel, service: str, *, kind: str = "direct") -> None:
        self.channel = channel
        self.request_queue = f"rpc_{service}_request"
        self.response_exchange = f"rpc_{service}_response"
        channel.exchange_declare(self.response_exchange, "direct", durable=True, auto_delete=False)
        declare_request_queue(channel, service, kind)

    def request(self) -> amqp.Message:
        """Wait for a request; its body is the bytes that were sent."""
        return taken(self.channel, self.request_queue)

    def answer(self, request: amqp.Message, body: bytes, **properties: Any) -> None:
        """Publish a reply's body with the original's properties, and others on top."""
        given = {"delivery_mode": 2, "message_id": request.properties["message_id"], **properties}
        self.channel.basic_publish(
            amqp.Message(body, **{name: value for name, value in given.items() if value is not None}),
            self.response_exchange,
            request.properties["reply_to"],
        )


def declare_request_queue(channel: amqp.Channel, service: str, kind: str) -> None:
    """Declare what both sides of 0.1.3 declare, the fan-out ones too."""
    name = f"rpc_{service}_request"
    channel.exchange_declare(name, kind, durable=True, auto_delete=False)
    channel.queue_declare(name, durable=True, exclusive=False, auto_delete=False)
    channel.queue_bind(name, name, "")


def encode(value: Any) -> bytes:
    """Encode as 0.1.3 did: JSON with default separators, escaped to ASCII."""
    return json.dumps(value).encode("ascii")


def taken(channel: amqp.Channel, queue: str) -> amqp.Message:
    """Wait for a message in a queue and take it, with its body as bytes."""
    # Without this, py-amqp would decode the body by its content_encoding.
    channel.auto_decode = False
    return wait_until(lambda: channel.basic_get(queue, no_ack=True), 30, message=f"a message in {queue}")
