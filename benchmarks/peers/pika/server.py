"""The server on pika: a request is acknowledged after its reply was confirmed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial

import pika
from pika.channel import Channel

from peers.pika.link import REQUEST_QUEUE, RESPONSE_EXCHANGE, Link

_CONCURRENCY = 100


def echo(value: str) -> str:
    return value


FUNCTIONS: dict[str, Callable[..., object]] = {"echo": echo}


def serve(broker_url: str) -> None:
    Link(broker_url, _consume).loop.start()


def _consume(link: Link) -> None:
    link.channel.basic_qos(prefetch_count=_CONCURRENCY)
    link.channel.basic_consume(REQUEST_QUEUE, partial(_handle, link), callback=lambda _: print("ready", flush=True))


def _handle(
    link: Link,
    channel: Channel,
    method: pika.spec.Basic.Deliver,
    properties: pika.BasicProperties,
    body: bytes,
) -> None:
    called = json.loads(body)
    try:
        answer = {"result": FUNCTIONS[called["func"]](*called["args"], **called["kwargs"])}
    except Exception as error:  # noqa: BLE001  the user's function: the caller gets what it raises
        answer = {"exception": {"type": type(error).__name__, "args": [str(error)]}}
    reply = pika.BasicProperties(
        content_type="application/json",
        delivery_mode=2,
        message_id=properties.message_id,
        correlation_id=properties.message_id,
    )
    acknowledge = partial(channel.basic_ack, method.delivery_tag)
    link.publish(RESPONSE_EXCHANGE, properties.reply_to, json.dumps(answer).encode(), reply, acknowledge)


if __name__ == "__main__":
    serve(sys.argv[1])
