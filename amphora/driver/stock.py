"""The transport with py-amqp's own encoders and dispatch for all that it can read; slower by far.

Chosen with ``AMPHORA_STOCK_TRANSPORT=1`` in the environment: to find out whether trouble comes from the
direct way of `amphora.driver.frames`. Sockets, heartbeats and the owner's `pump` are the same, and so is the
way of messages that py-amqp fails at: one with text that is not UTF-8 would break its connection for good,
and of one that crosses the closing of its channel it warns, although the broker gives it to another consumer.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any

import amqp
from amqp import spec
from amqp.exceptions import UnexpectedFrame
from amqp.method_framing import frame_writer
from amqp.serialization import dumps, loads

from amphora.driver import transport
from amphora.driver.channel import Channel as DirectChannel
from amphora.driver.frames import FRAME_END, FRAME_HEADER, HEADER, METHOD, parse_header
from amphora.driver.incoming_message import IncomingMessage
from amphora.driver.transport import DELIVER, RETURN, Content
from amphora.driver.unencodable import too_large, unencodable
from amphora.interrupts import let_through

__all__ = ["Channel", "Connection", "Transport"]


class _Frames:
    """What py-amqp writes the frames of one message to."""

    def __init__(self) -> None:
        self.pieces: list[bytes | memoryview] = []

    def write(self, data: bytes | memoryview) -> None:
        """Keep a copy: py-amqp uses its buffer again."""
        self.pieces.append(bytes(data))


class Channel(DirectChannel):
    """A channel whose messages are py-amqp's."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Bodies stay bytes, whatever a peer says of their encoding.
        self.auto_decode = False
        self._frames = _Frames()
        self._encoder: Any = None

    def encode(
        self, exchange: str, routing_key: str, properties: dict[str, Any], body: bytes, *, mandatory: bool
    ) -> Sequence[bytes | memoryview]:
        """Encode one message with py-amqp.

        Raises:
            Unencodable: AMQP cannot express it, or its headers are too large for this connection.
        """
        if not (_is_plain(exchange) and _is_plain(routing_key) and _is_plain(properties)):
            # Perhaps a peer's own, which py-amqp would not send back as it came.
            return super().encode(exchange, routing_key, properties, body, mandatory=mandatory)
        named = {"application_headers" if name == "headers" else name: value for name, value in properties.items()}
        frame_max = self._owner.frame_max
        pieces: list[bytes | memoryview] = []
        try:
            arguments = dumps("Bssbb", (0, exchange, routing_key, mandatory, False))
            if self._encoder is None:
                self._encoder = frame_writer(self._owner, self._frames)
            self._frames.pieces = pieces
            self._encoder(METHOD, self.channel_id, spec.Basic.Publish, arguments, amqp.Message(body, **named))
        except Exception as error:
            let_through(error)
            # The properties hold what the caller put there: any error is about this message alone.
            raise unencodable(error) from error
        # A large message is written frame by frame: the second one is the header.
        if len(pieces) > 1 and len(pieces[1]) > frame_max:
            raise too_large(len(pieces[1]), frame_max)
        return pieces

    def ack(self, delivery_tag: int, *, multiple: bool = False) -> None:
        """Queue an acknowledgement."""
        self.basic_ack(delivery_tag, multiple)

    def reject(self, delivery_tag: int, *, requeue: bool) -> None:
        """Give a delivery back, or reject it; the frame is queued."""
        if requeue:
            # (py-amqp has no method for it: delivery tag, multiple, requeue.)
            self.send_method(spec.Basic.Nack, "Lbb", (delivery_tag, False, True))
        else:
            self.basic_reject(delivery_tag, False)

    def _on_basic_deliver(
        self, consumer_tag: str, delivery_tag: int, redelivered: bool, exchange: str, routing_key: str, msg: Any
    ) -> None:
        deliver = self.consumers.get(consumer_tag)
        if deliver is None:
            if not self.is_closing:
                self.reject(delivery_tag, requeue=True)
            return
        properties = dict(msg.properties)
        if "application_headers" in properties:
            properties["headers"] = properties.pop("application_headers")
        body = bytes(msg.body or b"")
        deliver(IncomingMessage(self, delivery_tag, redelivered, properties, body, exchange, routing_key))

    def _on_basic_ack(self, delivery_tag: int, multiple: bool) -> None:
        if self.on_confirm is not None:
            self.on_confirm(delivery_tag, multiple, True)

    def _on_basic_nack(self, delivery_tag: int, multiple: bool) -> None:
        if self.on_confirm is not None:
            self.on_confirm(delivery_tag, multiple, False)

    def _on_basic_return(self, reply_code: int, reply_text: str, exchange: str, routing_key: str, message: Any) -> None:
        if self.on_return is not None:
            self.on_return(f"{reply_code} {reply_text}", exchange, routing_key, message.properties.get("message_id"))


class Connection(transport.Connection):
    """A connection whose frames go to py-amqp's frame handler."""

    Channel = Channel

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._methods: dict[int, bytes] = {}
        # Headers of the messages that py-amqp reads, until it has handled them.
        self._headers: dict[int, bytes] = {}

    def _dispatch_frame(self) -> bool | None:
        data, start = self._buffer, self._position
        if start + 8 > len(data):
            return None
        kind, channel_id, size = FRAME_HEADER.unpack_from(data, start)
        end = start + 7 + size
        if end >= len(data):
            return None
        if data[end] != FRAME_END:
            raise UnexpectedFrame(f"frame of type {kind} ends with {data[end]:#04x}, not 0xce")
        self._position = end + 1
        payload = data[start + 7 : end]
        if kind == METHOD and payload[:4] in (DELIVER, RETURN):
            # Its header tells who can read the message.
            self._methods[channel_id] = payload
            return False
        if kind == HEADER and channel_id in self._methods:
            method = self._methods.pop(channel_id)
            if self._is_for_py_amqp(channel_id, method, payload):
                self._headers[channel_id] = payload
                self.on_inbound_frame((METHOD, channel_id, method))
            else:
                self._contents[channel_id] = Content(method)
        if channel_id in self._contents:
            return self._collect_content(channel_id, kind, memoryview(payload))
        return self._handle(kind, channel_id, payload)

    def _is_for_py_amqp(self, channel_id: int, method: bytes, header: bytes) -> bool:
        channel = self.channels.get(channel_id)
        if channel is not None and channel.is_closing:
            return False
        if self.suspicion and self.suspicion.is_suspect(header):
            return False
        try:
            return _is_readable(method, header)
        except BaseException:
            self.in_hand = header
            raise

    def _handle(self, kind: int, channel_id: int, payload: bytes) -> bool:
        """Give a frame to py-amqp; return whether it completed a method."""
        try:
            complete = self._give_to_py_amqp(kind, channel_id, payload)
        except BaseException:
            self.in_hand = self._headers.get(channel_id)
            raise
        if complete and channel_id in self._headers:
            header = self._headers.pop(channel_id)
            if self.suspicion:
                self.suspicion.clear(header)
        return complete


def _is_plain(value: Any) -> bool:
    """Return whether py-amqp writes a value as `amphora.driver.frames` does: nothing a peer can have sent but us."""
    if isinstance(value, str):
        return value.isprintable()
    if isinstance(value, float):
        return isfinite(value)
    if isinstance(value, dict):
        return all(_is_plain(name) and _is_plain(each) for name, each in value.items())
    return value is None or type(value) in (int, bool, bytes)


def _is_readable(method: bytes, header: bytes) -> bool:
    """Return whether py-amqp can read a message, and reads it as `amphora.driver.frames` does."""
    _, properties = parse_header(header, 0, len(header))
    if header[12] & 0x20 and "headers" not in properties:
        return False
    try:
        loads("sLbss" if method[:4] == DELIVER else "Bsss", method, 4)
        amqp.Message().inbound_header(header)
    except Exception:  # noqa: BLE001  (what it raises is not documented, and differs from fault to fault)
        return False
    # It leaves names that are not UTF-8 bytes, which nothing expects.
    return _are_plain_names(properties.get("headers"))


def _are_plain_names(value: Any) -> bool:
    if isinstance(value, dict):
        return all(name.isprintable() and _are_plain_names(each) for name, each in value.items())
    return not isinstance(value, list) or all(map(_are_plain_names, value))


class Transport(transport.Transport):
    """The transport class to give to `kombu.Connection`."""

    Connection = Connection
