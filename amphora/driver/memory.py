"""Kombu's in-memory transport, brought up to what the links need.

Exchanges, queues and bindings are Kombu's own, so Kombu programs in the same process meet ours there.
Added: confirms, returns of unroutable messages, prefetch and cancellation per consumer, redelivery of
what a closed connection left unacknowledged, and waking up at once instead of polling. Missing, as
there: expiry, persistence, and everything beyond this process.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from itertools import count
from queue import Empty, Queue
from typing import Any, NamedTuple

import gevent
from amqp.exceptions import ChannelError
from gevent.event import Event
from kombu.transport import memory

from amphora.core.suspicion import Suspicion
from amphora.driver.frames import encode_header, encode_publish
from amphora.driver.incoming_message import IncomingMessage
from amphora.driver.ports import ChannelPort, ConnectionPort
from amphora.driver.tls_session import TlsSession
from amphora.driver.unencodable import too_large, unencodable
from amphora.interrupts import let_through

__all__ = ["Channel", "Connection", "Transport"]

#: Bytes of a frame that RabbitMQ and its clients agree upon by default.
_FRAME_MAX = 131072


class _Consumer:
    """One subscription to a queue, with what it has not acknowledged yet."""

    __slots__ = ("channel", "on_cancel", "prefetch", "queue", "tag", "unacked")

    def __init__(
        self, channel: Channel, queue: str, tag: str, prefetch: int, on_cancel: Callable[[str], None] | None
    ) -> None:
        self.channel = channel
        self.queue = queue
        self.tag = tag
        self.prefetch = prefetch
        self.on_cancel = on_cancel
        self.unacked: dict[int, Any] = {}

    @property
    def has_room(self) -> bool:
        """Whether it may get one more message."""
        return not self.prefetch or len(self.unacked) < self.prefetch


class _FairQueue(Queue[Any]):
    """A queue whose consumers take turns, as those of a broker do.

    It wakes them up, also where a Kombu program puts a message into it.
    """

    def __init__(self) -> None:
        super().__init__()
        #: Whose turn it is comes first.
        self.turns: deque[_Consumer] = deque()

    def _put(self, item: Any) -> None:
        super()._put(item)
        self.wake_all()

    def put_back(self, item: Any) -> None:
        """Put a message back to the front."""
        self.queue.appendleft(item)
        self.wake_all()

    def wake_all(self) -> None:
        """Wake every consumer."""
        for consumer in self.turns:
            consumer.channel.wake_owner()

    def take(self, consumer: _Consumer) -> Any:
        """Take the next message for a consumer.

        Raises:
            Empty: There is none, or it is for another one, which is awake to take it.
        """
        if consumer not in self.turns:
            self.turns.append(consumer)
        if not self.qsize():
            raise Empty
        first = next(each for each in self.turns if each.has_room or each is consumer)
        if first is not consumer:
            first.channel.wake_owner()
            raise Empty
        self.turns.remove(consumer)
        self.turns.append(consumer)
        item = self.get(block=False)
        self._wake_next()
        return item

    def _wake_next(self) -> None:
        """Wake whose turn it is: it may have looked before its turn came, and sleep by now."""
        following = next((each for each in self.turns if each.has_room), None)
        if following is not None and self.qsize():
            following.channel.wake_owner()

    def leave(self, consumer: _Consumer) -> None:
        """A consumer takes no more; what waits is for the others."""
        if consumer in self.turns:
            self.turns.remove(consumer)
            self.wake_all()


class _Message(NamedTuple):
    """A message that is ready to be put into queues."""

    exchange: str
    routing_key: str
    payload: dict[str, Any]
    message_id: str | None
    mandatory: bool


def _check(exchange: str, routing_key: str, properties: dict[str, Any], size: int) -> None:
    """Refuse what a broker's connection refuses, so that tests on `memory://` notice it."""
    try:
        encode_publish(1, exchange, routing_key, mandatory=True)
        header = encode_header(1, properties, size)
    except Exception as error:
        let_through(error)
        # The properties hold what the caller put there.
        raise unencodable(error) from error
    if len(header) > _FRAME_MAX:
        raise too_large(len(header), _FRAME_MAX)


class Channel(memory.Channel, ChannelPort):  # type: ignore[misc]
    """A memory channel with the hooks of `amphora.driver.channel.Channel`."""

    def __init__(self, connection: Transport, **kwargs: Any) -> None:
        super().__init__(connection, **kwargs)
        self.consumers: dict[str, Callable[[IncomingMessage], None]] = {}
        self.on_confirm: Callable[[int, bool, bool], None] | None = None
        self.on_return: Callable[[str, str, str, str | None], None] | None = None
        self.on_closed: Callable[[ChannelError], None] | None = None
        self.on_suspect: Callable[[IncomingMessage], None] | None = None
        self.owner: Connection | None = None
        self._subscribed: dict[str, _Consumer] = {}
        self._prefetch = 0
        self._published = count(1)
        self._tags = count(1)
        #: Confirms and returns, told by the owner's pump as a broker's would be.
        self._news: deque[Callable[[], None]] = deque()

    # -- publishing -------------------------------------------------------------------------

    def confirm_select(self, nowait: bool = False) -> None:
        """Confirms are always on."""

    def publish(
        self,
        exchange: str,
        routing_key: str,
        properties: dict[str, Any],
        body: bytes,
        *,
        mandatory: bool,
        at_once: bool,
    ) -> None:
        """Put one message into every queue that takes it; see `encode` and `write`."""
        self.write(self.encode(exchange, routing_key, properties, body, mandatory=mandatory), at_once=at_once)

    def encode(
        self, exchange: str, routing_key: str, properties: dict[str, Any], body: bytes, *, mandatory: bool
    ) -> _Message:
        """Make Kombu's message of one of ours.

        Raises:
            Unencodable: AMQP could not express it, or its headers would be too large for a broker's defaults.
        """
        _check(exchange, routing_key, properties, len(body))
        others = {
            name: value
            for name, value in properties.items()
            if name not in {"content_type", "headers"} and value is not None
        }
        payload = self.prepare_message(
            body,
            content_type=properties.get("content_type"),
            content_encoding="binary",
            headers=properties.get("headers"),
            properties=others,
        )
        return _Message(exchange, routing_key, payload, properties.get("message_id"), mandatory)

    def write(self, message: _Message, *, at_once: bool) -> None:
        """Put one message into every queue that takes it."""
        exchange, routing_key = message.exchange, message.routing_key
        sequence = next(self._published)
        taken = routing_key in self.queues if not exchange else self._lookup(exchange, routing_key)
        if taken:
            self.basic_publish(message.payload, exchange, routing_key)
        elif message.mandatory:
            self._news.append(lambda: self._tell_return(exchange, routing_key, message.message_id))
        self._news.append(lambda: self._tell_confirm(sequence))
        self.wake_owner()

    def _tell_confirm(self, sequence: int) -> None:
        if self.on_confirm is not None:
            self.on_confirm(sequence, False, True)

    def _tell_return(self, exchange: str, routing_key: str, message_id: str | None) -> None:
        if self.on_return is not None:
            self.on_return("312 NO_ROUTE", exchange, routing_key, message_id)

    # -- queues -----------------------------------------------------------------------------

    def queue_bind(self, queue: str, *args: Any, **kwargs: Any) -> None:
        """Bind a queue that exists, as a broker does.

        Raises:
            ChannelError: There is no such queue.
        """
        if queue not in self.queues:
            self.queue_declare(queue, passive=True)
        super().queue_bind(queue, *args, **kwargs)  # type: ignore[safe-super]  # (Kombu's)

    def queue_delete(self, queue: str, *args: Any, **kwargs: Any) -> None:
        """Delete a queue with its bindings, which Kombu leaves where messages are routed."""
        deleted = self.queues.get(queue)
        super().queue_delete(queue, *args, **kwargs)  # type: ignore[safe-super]  # (Kombu's)
        if queue not in self.queues:
            if isinstance(deleted, _FairQueue):
                deleted.wake_all()
            for exchange in self.state.exchanges.values():
                exchange["table"] = [binding for binding in exchange["table"] if binding[2] != queue]

    def _new_queue(self, queue: str, **kwargs: Any) -> None:
        self._queue_for(queue)

    def _queue_for(self, queue: str) -> _FairQueue:
        found = self.queues.get(queue)
        if isinstance(found, _FairQueue):
            return found
        fair = self.queues[queue] = _FairQueue()
        if found is not None:
            # A Kombu program has declared it before us.
            fair.queue.extend(found.queue)
        return fair

    # -- consuming --------------------------------------------------------------------------

    def basic_qos(self, prefetch_size: int = 0, prefetch_count: int = 0, apply_global: bool = False) -> None:
        """Set the prefetch count of the consumers to come."""
        self._prefetch = prefetch_count

    def basic_consume(
        self,
        queue: str,
        consumer_tag: str = "",
        callback: Any = None,
        on_cancel: Callable[[str], None] | None = None,
        **kwargs: Any,
    ) -> str:
        """Subscribe to a queue; deliveries go to ``consumers[consumer_tag]``."""
        consumer = _Consumer(self, queue, consumer_tag, self._prefetch, on_cancel)
        self._subscribed[consumer_tag] = consumer
        self._queue_for(queue).turns.append(consumer)
        return consumer_tag

    def basic_cancel(self, consumer_tag: str, nowait: bool = False) -> None:
        """End a subscription; what it has not acknowledged stays with this channel."""
        consumer = self._subscribed.get(consumer_tag)
        if consumer is not None:
            consumer.prefetch = -1
            self.consumers.pop(consumer_tag, None)
            self._leave(consumer)

    def ack(self, delivery_tag: int, *, multiple: bool = False) -> None:
        """Forget a delivery, or all up to it."""
        self._settle(delivery_tag, multiple=multiple)
        self.wake_owner()

    def reject(self, delivery_tag: int, *, requeue: bool) -> None:
        """Put a delivery back to the front of its queue, or drop it."""
        for queue, payload in self._settle(delivery_tag):
            if requeue:
                self._give_back(queue, payload)
        self.wake_owner()

    def _settle(self, delivery_tag: int, *, multiple: bool = False) -> list[tuple[str, Any]]:
        settled = []
        for consumer in list(self._subscribed.values()):
            if multiple:
                tags = [tag for tag in consumer.unacked if tag <= delivery_tag]
            else:
                tags = [delivery_tag] if delivery_tag in consumer.unacked else []
            settled += [(consumer.queue, consumer.unacked.pop(tag)) for tag in tags]
            if consumer.prefetch < 0 and not consumer.unacked:
                del self._subscribed[consumer.tag]
        return settled

    def wake_owner(self) -> None:
        """Let the owner pump this channel soon."""
        if self.owner is not None:
            self.owner.wake()

    def _leave(self, consumer: _Consumer) -> None:
        queue = self.queues.get(consumer.queue)
        if isinstance(queue, _FairQueue):
            queue.leave(consumer)

    def _give_back(self, queue: str, payload: Any) -> None:
        if queue not in self.queues:
            return
        self._queue_for(queue).put_back({**payload, "amphora_redelivered": True})

    def pump(self) -> bool:
        """Tell the news and deliver one message a consumer; return whether there was anything."""
        busy = bool(self._news)
        while self._news:
            self._news.popleft()()
        for consumer in list(self._subscribed.values()):
            if self.closed:
                # What was told before has ended the connection.
                break
            if consumer.prefetch < 0:
                continue
            if consumer.queue not in self.queues:
                del self._subscribed[consumer.tag]
                self.consumers.pop(consumer.tag, None)
                if consumer.on_cancel is not None:
                    consumer.on_cancel(consumer.tag)
                continue
            if consumer.has_room:
                busy = self._deliver_next(consumer) or busy
        return busy

    def _deliver_next(self, consumer: _Consumer) -> bool:
        try:
            payload = self._queue_for(consumer.queue).take(consumer)
        except Empty:
            return False
        message = self.Message(payload, channel=self)
        tag = next(self._tags)
        consumer.unacked[tag] = payload
        body = message.body
        properties = {**message.properties, "content_type": message.content_type}
        if not properties.get("priority"):
            # Kombu's, not the publisher's.
            properties.pop("priority", None)
        source = message.delivery_info
        if message.headers:
            properties["headers"] = message.headers
        self.consumers[consumer.tag](
            IncomingMessage(
                self,
                tag,
                bool(payload.get("amphora_redelivered")),
                properties,
                body if isinstance(body, bytes) else str(body).encode(),
                str(source.get("exchange") or ""),
                str(source.get("routing_key") or ""),
            )
        )
        return True

    def abandon(self) -> None:
        """Close, as there is no broker to wait for."""
        self.close()

    def close(self) -> None:
        """Give back what was not acknowledged, in its old order."""
        if self.closed:
            return
        subscribed, self._subscribed = self._subscribed, {}
        for consumer in subscribed.values():
            self._leave(consumer)
            for payload in reversed(list(consumer.unacked.values())):
                self._give_back(consumer.queue, payload)
        self.consumers.clear()
        super().close()  # type: ignore[safe-super]  # (Kombu's)


class Connection(ConnectionPort):
    """What `amphora.driver.transport.Connection` is to a broker, to this process's memory."""

    def __init__(self, transport: Transport) -> None:
        self.connected = True
        self.heartbeat = 0.0
        self.in_hand: bytes | None = None
        self.server_properties: Mapping[str, Any] = {"product": "memory"}
        self.suspicion = Suspicion()
        self._transport = transport
        self._channels: list[Channel] = []
        self._awake = Event()

    @property
    def tls_session(self) -> TlsSession | None:
        """None: there is no TLS."""
        return None

    def answer_within(self, seconds: float) -> AbstractContextManager[None]:
        """Do nothing: every answer comes at once."""
        return nullcontext()

    def channel(self) -> Channel:
        """Open a channel."""
        channel: Channel = self._transport.create_channel(self._transport)
        channel.owner = self
        self._channels = [*(each for each in self._channels if not each.closed), channel]
        return channel

    def pump(self) -> None:
        """Deliver what is there; where nothing is, wait for some, or for `wake`."""
        self._awake.clear()
        busy = [channel.pump() for channel in self._channels if not channel.closed]
        if any(busy):
            # A consumer that gives everything back gets it again at once: who is about to cancel it needs a turn.
            gevent.sleep(0)
        else:
            self._awake.wait()

    def wake(self) -> None:
        """End the owner's wait."""
        self._awake.set()

    def close(self) -> None:
        """Close every channel."""
        for channel in self._channels:
            channel.close()
        self._channels.clear()

    def abandon(self) -> None:
        """Close; there is no peer to inform."""
        self.close()


class Transport(memory.Transport):  # type: ignore[misc]
    """The transport class to give to `kombu.Connection`."""

    Channel = Channel

    def establish_connection(self) -> Connection:
        """Make a connection to this process's memory."""
        return Connection(self)
