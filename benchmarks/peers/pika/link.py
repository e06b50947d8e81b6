"""One pika connection with pipelined publisher confirms."""

from __future__ import annotations

from collections.abc import Callable

import pika
from pika.adapters.select_connection import IOLoop
from pika.channel import Channel

REQUEST_EXCHANGE = "bench_pika_request"
REQUEST_QUEUE = "bench_pika_request"
RESPONSE_EXCHANGE = "bench_pika_response"


class Link:
    """A connection with everything declared.

    Args:
        broker_url: where the broker is.
        on_ready: called with the link when the channel is open and the request queue is there.
    """

    channel: Channel

    def __init__(self, broker_url: str, on_ready: Callable[[Link], None]) -> None:
        self._on_ready = on_ready
        self._published = 0
        self._unconfirmed: dict[int, Callable[[], None]] = {}
        self._connection = pika.SelectConnection(
            pika.URLParameters(broker_url.removesuffix("/") + "%2F"),
            on_open_callback=lambda connection: connection.channel(on_open_callback=self._declare),
            on_open_error_callback=self._fail,
            on_close_callback=self._fail,
        )

    @property
    def loop(self) -> IOLoop:
        return self._connection.ioloop

    def publish(
        self,
        exchange: str,
        routing_key: str,
        body: bytes,
        properties: pika.BasicProperties,
        on_confirmed: Callable[[], None],
    ) -> None:
        """Write the message; `on_confirmed` runs when the broker has taken it."""
        self._published += 1
        self._unconfirmed[self._published] = on_confirmed
        self.channel.basic_publish(exchange, routing_key, body, properties)

    def _declare(self, channel: Channel) -> None:
        self.channel = channel
        channel.confirm_delivery(self._on_confirm)
        for exchange in (REQUEST_EXCHANGE, RESPONSE_EXCHANGE):
            channel.exchange_declare(exchange, "direct", durable=True)
        channel.queue_declare(REQUEST_QUEUE, durable=True)
        # Answers come in order: this one is the last.
        channel.queue_bind(REQUEST_QUEUE, REQUEST_EXCHANGE, "", callback=lambda _: self._on_ready(self))

    def _on_confirm(self, frame: pika.frame.Method) -> None:
        confirm = frame.method
        if isinstance(confirm, pika.spec.Basic.Nack):
            raise RuntimeError(f"the broker refused message {confirm.delivery_tag}")
        if not confirm.multiple:
            self._unconfirmed.pop(confirm.delivery_tag)()
            return
        for number in list(self._unconfirmed):  # in the order of publishing
            if number > confirm.delivery_tag:
                break
            self._unconfirmed.pop(number)()

    def _fail(self, _: object, error: BaseException) -> None:
        raise error
