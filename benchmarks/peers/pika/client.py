"""The client on pika: everything happens in callbacks, a finished call begins the next."""

from __future__ import annotations

import itertools
import json
import time
import uuid

import pika
from pika.channel import Channel
from workloads import ClientArguments, Workload

from peers.measuring import Turns, check, measure, print_result
from peers.pika.link import REQUEST_EXCHANGE, REQUEST_QUEUE, RESPONSE_EXCHANGE, Link

_EXPIRES_MS = 30 * 60 * 1000


class PikaClient:
    """Does the action of a workload, with as many in flight as it says."""

    def __init__(self, broker_url: str, workload: Workload) -> None:
        self._workload = workload
        self._payload = "x" * workload.size
        self._name = uuid.uuid4().hex
        self._ids = itertools.count()
        self._pending: dict[str, tuple[int, float]] = {}
        self._turns = Turns(0, None)
        self._running = 0
        self._link = Link(broker_url, self._declare)
        self._link.loop.start()  # until the response queue is consumed

    def repeat(self, turns: Turns) -> None:
        self._turns = turns
        self._running = self._workload.in_flight
        self._link.loop.add_callback_threadsafe(self._start)
        self._link.loop.start()

    def _declare(self, link: Link) -> None:
        queue = f"bench_pika_{self._name}_response"
        link.channel.queue_declare(queue, durable=True, arguments={"x-expires": _EXPIRES_MS})
        link.channel.queue_bind(queue, RESPONSE_EXCHANGE, self._name)
        link.channel.basic_consume(queue, self._on_reply, callback=lambda _: link.loop.stop())

    def _start(self) -> None:
        for _ in range(self._workload.in_flight):
            self._next()

    def _next(self) -> None:
        turn = next(self._turns, None)
        if turn is None:
            self._running -= 1
            if not self._running:
                self._link.loop.stop()
            return
        message_id = f"{self._name}.{next(self._ids)}"
        started = time.perf_counter()
        properties = pika.BasicProperties(
            content_type="application/json",
            delivery_mode=2,
            message_id=message_id,
            correlation_id=message_id,
            reply_to=self._name,
        )
        body = json.dumps({"func": "echo", "args": [self._payload], "kwargs": {}}).encode()
        if self._workload.action == "send":
            self._link.publish(REQUEST_EXCHANGE, "", body, properties, lambda: self._done(turn, started))
        else:
            self._pending[message_id] = turn, started
            self._link.publish(REQUEST_EXCHANGE, "", body, properties, _nothing)

    def _on_reply(
        self,
        channel: Channel,
        method: pika.spec.Basic.Deliver,
        properties: pika.BasicProperties,
        body: bytes,
    ) -> None:
        channel.basic_ack(method.delivery_tag)
        check(json.loads(body).get("result"), self._payload)
        self._done(*self._pending.pop(properties.message_id))

    def _done(self, turn: int, started: float) -> None:
        self._turns.note(turn, time.perf_counter() - started)
        self._next()


def _nothing() -> None:
    """A confirmed request needs nothing more: its reply is waited for."""


def main() -> None:
    arguments = ClientArguments.parse()
    client = PikaClient(arguments.broker_url, arguments.workload)
    measured = measure(arguments, client.repeat, time.sleep)
    print_result(
        measured,
        packages=["pika"],
        guarantees="persistent, both ways confirmed (pipelined), request acknowledged after its confirmed reply, "
        "reply acknowledged; callbacks instead of calls that return, connects once, resends nothing",
        request_queue=REQUEST_QUEUE,
    )


if __name__ == "__main__":
    main()
