"""The server of the hand-written loop: a request is acknowledged after its reply was confirmed."""

from gevent import monkey

monkey.patch_all()

import json
import sys
from collections.abc import Callable
from functools import partial

import amqp
import gevent

from peers.pyamqp.link import REQUEST_QUEUE, RESPONSE_EXCHANGE, Link

_CONCURRENCY = 100


def echo(value: str) -> str:
    return value


FUNCTIONS: dict[str, Callable[..., object]] = {"echo": echo}


def serve(broker_url: str) -> None:
    link = Link(broker_url)
    link.declare_requests()
    link.channel.basic_qos(0, _CONCURRENCY, False)
    link.channel.basic_consume(REQUEST_QUEUE, callback=partial(gevent.spawn, _handle, link))
    reader = link.start()
    print("ready", flush=True)
    reader.get()


def _handle(link: Link, request: amqp.Message) -> None:
    called = json.loads(request.body)
    try:
        answer = {"result": FUNCTIONS[called["func"]](*called["args"], **called["kwargs"])}
    except Exception as error:  # noqa: BLE001  the user's function: the caller gets what it raises
        answer = {"exception": {"type": type(error).__name__, "args": [str(error)]}}
    properties = request.properties
    reply = amqp.Message(
        json.dumps(answer).encode(),
        content_type="application/json",
        delivery_mode=2,
        message_id=properties["message_id"],
        correlation_id=properties["message_id"],
    )
    acknowledge = partial(link.channel.basic_ack, request.delivery_tag)
    link.publish(reply, RESPONSE_EXCHANGE, properties["reply_to"], acknowledge)


if __name__ == "__main__":
    serve(sys.argv[1])
