"""A Kombu channel with hooks for what travels with every call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from amqp import spec
from amqp.exceptions import ChannelError, RecoverableConnectionError, error_for_code
from gevent import getcurrent
from kombu.transport import pyamqp

from amphora.driver.frames import (
    encode_ack,
    encode_body,
    encode_give_back,
    encode_header,
    encode_publish,
    encode_reject,
)
from amphora.driver.incoming_message import IncomingMessage
from amphora.driver.ports import ChannelPort
from amphora.driver.progress import AnswerWatch, Silence
from amphora.driver.unencodable import too_large, unencodable
from amphora.interrupts import let_through
from amphora.logs.note_log import NoteLogger

__all__ = ["Channel", "Silence"]

logger = NoteLogger(__name__)

#: How many encoded method frames (one per exchange and routing key) a channel keeps.
_METHOD_FRAMES = 1024


class Channel(pyamqp.Channel, ChannelPort):  # type: ignore[misc]
    """A channel that publishes and acknowledges without py-amqp's method dispatch.

    Attributes:
        consumers: Callbacks by consumer tag; each takes a `IncomingMessage`. Registered before consuming,
            as deliveries may follow the broker's answer at once.
        on_confirm: Called with (delivery tag, multiple, acked) for the broker's confirms.
        on_return: Called with (reply text, exchange, routing key, message id) for a returned message.
        on_closed: Called with the error when the broker closes the channel.
        on_suspect: Called with a message that has broken several connections (see `amphora.core.suspicion`) and is not
            parsed again: the `IncomingMessage` has no properties. Without it, the message is dropped, or dead-lettered
            by the broker where the queue is declared so.
    """

    is_closing: bool

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.consumers: dict[str, Callable[[IncomingMessage], None]] = {}
        self.on_confirm: Callable[[int, bool, bool], None] | None = None
        self.on_return: Callable[[str, str, str, str | None], None] | None = None
        self.on_closed: Callable[[ChannelError], None] | None = None
        self.on_suspect: Callable[[IncomingMessage], None] | None = None
        self._method_frames: dict[tuple[str, str, bool], bytes] = {}
        # The greenlet that waits for an answer, and what it gets if the broker closes the channel instead.
        self._waiter: Any = None
        self._refusal: ChannelError | None = None
        # Its own `connection` is None as soon as it is closed.
        self._owner: Any = self.connection

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
        """Encode one message and queue it for sending; see `encode` and `write`."""
        self.write(self.encode(exchange, routing_key, properties, body, mandatory=mandatory), at_once=at_once)

    def encode(
        self, exchange: str, routing_key: str, properties: dict[str, Any], body: bytes, *, mandatory: bool
    ) -> Sequence[bytes | memoryview]:
        """Encode one message; it has not been sent and does not count until its frames are given to `write`.

        Args:
            exchange: Name of the exchange.
            routing_key: Routing key.
            properties: Properties by their AMQP names (``headers`` for the header table).
            body: The body; not copied.
            mandatory: Whether the broker returns the message if no queue takes it.

        Raises:
            Unencodable: AMQP cannot express it, or its headers are too large for this connection.
        """
        key = (exchange, routing_key, mandatory)
        frame_max = self._owner.frame_max
        try:
            method = self._method_frames.get(key)
            if method is None:
                if len(self._method_frames) >= _METHOD_FRAMES:
                    self._method_frames.clear()
                method = encode_publish(self.channel_id, exchange, routing_key, mandatory=mandatory)
                self._method_frames[key] = method
            header = encode_header(self.channel_id, properties, len(body))
        except Exception as error:
            let_through(error)
            # The properties hold what the caller put there: any error is about this message alone.
            raise unencodable(error) from error
        if len(header) > frame_max:
            raise too_large(len(header), frame_max)
        return [method, header, *encode_body(self.channel_id, body, frame_max=frame_max)]

    def write(self, frames: Sequence[bytes | memoryview], *, at_once: bool) -> None:
        """Queue the frames of one message for sending; reads nothing, never blocks and never raises.

        On a channel or a connection that is closed they are dropped.

        Args:
            frames: What `encode` returned.
            at_once: Send without waiting for the end of this turn of the event loop.
        """
        self._owner.socket.write_frames(*frames, at_once=at_once)

    def ack(self, delivery_tag: int, *, multiple: bool = False) -> None:
        """Queue an acknowledgement."""
        frame = encode_ack(self.channel_id, delivery_tag, multiple=multiple)
        self.connection.socket.write_frames(frame)

    def reject(self, delivery_tag: int, *, requeue: bool) -> None:
        """Give a delivery back, or reject it; the frame is queued."""
        if requeue:
            frame = encode_give_back(self.channel_id, delivery_tag)
        else:
            frame = encode_reject(self.channel_id, delivery_tag, requeue=False)
        self.connection.socket.write_frames(frame)

    def set_aside(self, delivery: IncomingMessage) -> None:
        """Get rid of a message that has broken several connections."""
        logger.error(
            "a message of %d bytes to exchange %r, routing key %r broke several connections: it is set aside unread",
            len(delivery.body),
            delivery.exchange,
            delivery.routing_key,
        )
        if self.on_suspect is not None:
            self.on_suspect(delivery)
        else:
            self.reject(delivery.delivery_tag, requeue=False)

    def basic_publish(
        self,
        msg: Any,
        exchange: str = "",
        routing_key: str = "",
        mandatory: bool = False,
        immediate: bool = False,
        timeout: float | None = None,
        confirm_timeout: float | None = None,
        argsig: str = "Bssbb",
    ) -> Any:
        """Publish as py-amqp does, for Kombu's own producers, but without reading."""
        return self.send_method(spec.Basic.Publish, argsig, (0, exchange, routing_key, mandatory, immediate), msg)

    def wait(self, *args: Any, **kwargs: Any) -> Any:
        """Wait for the answer to a synchronous method, for as long as anything moves; see `AnswerWatch`.

        In the greenlet that owns the connection, or in another one while the owner pumps it.

        Raises:
            Silence: The answer is late.
            ChannelError: The broker closed the channel.
        """
        owner = self._owner
        self._waiter = getcurrent()
        try:
            with AnswerWatch(owner.socket, owner.answer_timeout):
                return super().wait(*args, **kwargs)
        except RecoverableConnectionError as lost:
            if self._refusal is not None:
                raise self._refusal from lost
            raise
        finally:
            self._waiter = None

    def abandon(self) -> None:
        """Close the channel without waiting for the broker; deliveries that are on their way are left to others."""
        if self.connection is None or not self.is_open or self.is_closing:
            return
        self.is_closing = True
        self.consumers.clear()
        self.send_method(spec.Channel.Close, "BsBB", (0, "", 0, 0))

    def _on_basic_cancel(self, consumer_tag: str) -> None:
        """Answer the broker's cancellation of a consumer by cancelling it too, then tell the consumer.

        RabbitMQ 4.3 cancels a consumer of a quorum queue that has kept a message for too long, but keeps delivering
        to it until the client agrees. It expects `basic.cancel-ok` for that. Older releases, and 4.3 itself where the
        queue is gone, answer that with an error that closes the connection. To all of them, `basic.cancel` means the
        same, and they ignore it for a consumer that they do not know.
        """
        on_cancel = self.cancel_callbacks.get(consumer_tag)
        self._remove_tag(consumer_tag)
        self.send_method(spec.Basic.Cancel, "sb", (consumer_tag, True))
        if on_cancel is not None:
            # The broker may say it once for each message that was kept for too long.
            on_cancel(consumer_tag)

    def _on_close(self, reply_code: int, reply_text: str, class_id: int, method_id: int) -> None:
        # py-amqp would open the channel again under us, without its consumers and its confirm mode.
        self.send_method(spec.Channel.CloseOk)
        if self.is_closing:
            return
        error = error_for_code(reply_code, reply_text, (class_id, method_id), ChannelError)
        waited_for, on_closed = bool(self._pending), self.on_closed
        elsewhere = waited_for and self._waiter not in (None, getcurrent())
        self.collect()
        if elsewhere:
            self._refusal = error
        elif waited_for or on_closed is None:
            raise error
        if on_closed is not None:
            on_closed(error)

    def collect(self) -> None:
        super().collect()
        self.consumers.clear()
