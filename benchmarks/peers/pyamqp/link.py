"""One py-amqp connection with a reader greenlet and pipelined publisher confirms."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

import amqp
import gevent
from gevent.lock import BoundedSemaphore

REQUEST_EXCHANGE = "bench_pyamqp_request"
REQUEST_QUEUE = "bench_pyamqp_request"
RESPONSE_EXCHANGE = "bench_pyamqp_response"


class Link:
    """A connection that many greenlets publish on, while one reads and runs all callbacks.

    Declare everything before `start()`: afterwards only the reader may wait for answers.
    """

    def __init__(self, broker_url: str) -> None:
        self._connection = amqp.Connection(host=urlsplit(broker_url).netloc.rpartition("@")[2])
        # With connection.blocked negotiated, py-amqp reads from the socket in each basic_publish, which
        # two greenlets must not do.
        self._connection.negotiate_capabilities = {
            **self._connection.negotiate_capabilities,
            "connection.blocked": False,
        }
        self._connection.connect()
        self.channel = self._connection.channel()
        self.channel.confirm_select()
        self.channel.events["basic_ack"].add(self._on_ack)
        self.channel.events["basic_nack"].add(self._on_nack)
        self._publishing = BoundedSemaphore()  # sequence numbers in the order of the frames
        self._sequence_number = 0
        self._unconfirmed: dict[int, tuple[amqp.Message, Callable[[], None]]] = {}
        self._reader: gevent.Greenlet[[], None] | None = None

    def declare_requests(self) -> None:
        self.channel.exchange_declare(REQUEST_EXCHANGE, "direct", durable=True, auto_delete=False)
        self.channel.exchange_declare(RESPONSE_EXCHANGE, "direct", durable=True, auto_delete=False)
        self.channel.queue_declare(REQUEST_QUEUE, durable=True, auto_delete=False)
        self.channel.queue_bind(REQUEST_QUEUE, REQUEST_EXCHANGE, "")

    def start(self) -> gevent.Greenlet[[], None]:
        self._reader = gevent.spawn(self._read)
        return self._reader

    def publish(
        self,
        message: amqp.Message,
        exchange: str,
        routing_key: str,
        on_confirmed: Callable[[], None],
    ) -> None:
        """Write the message; `on_confirmed` runs in the reader when the broker has taken it."""
        with self._publishing:
            self._sequence_number += 1
            self._unconfirmed[self._sequence_number] = message, on_confirmed
            self.channel.basic_publish(message, exchange, routing_key)

    def close(self) -> None:
        if self._reader is not None:
            self._reader.kill()
        self._connection.close()

    def _read(self) -> None:
        while True:
            self._connection.drain_events()

    def _on_ack(self, delivery_tag: int, multiple: bool) -> None:
        if not multiple:
            self._unconfirmed.pop(delivery_tag)[1]()
            return
        for number in list(self._unconfirmed):  # in the order of publishing
            if number > delivery_tag:
                break
            self._unconfirmed.pop(number)[1]()

    def _on_nack(self, delivery_tag: int, multiple: bool) -> None:
        raise RuntimeError(f"the broker refused message {delivery_tag} (multiple={multiple})")
