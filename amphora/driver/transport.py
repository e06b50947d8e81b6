"""The Kombu transport: py-amqp with joined frames, and no reads while publishing.

Method by method it is py-amqp. What travels with every call (publish, confirm, deliver, ack) goes
past py-amqp's method dispatch, straight between frames and the hooks of `Channel`.

One greenlet, the owner, calls `Connection.pump` and the synchronous methods (declare, bind, consume,
...). Anyone may call `Channel.publish`, `Channel.ack` and `Channel.reject`: they only queue bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

from amqp.exceptions import UnexpectedFrame
from gevent import get_hub, getcurrent
from gevent.event import Event
from kombu.transport import pyamqp

from amphora.core.suspicion import Suspicion
from amphora.driver.channel import Channel
from amphora.driver.frames import (
    BODY,
    FRAME_END,
    FRAME_HEADER,
    HEADER,
    HEARTBEAT,
    METHOD,
    parse_deliver,
    parse_header,
    parse_return,
    readable_close,
)
from amphora.driver.incoming_message import IncomingMessage
from amphora.driver.mechanisms import NoMechanism, check_frames, mechanisms
from amphora.driver.ports import ConnectionPort
from amphora.driver.progress import AnswerWatch, Silence
from amphora.driver.sockets import BatchingSocket
from amphora.driver.tls_session import TlsSession
from amphora.interrupts import contained

__all__ = ["DELIVER", "RETURN", "Connection", "Content", "Transport"]

#: Frames of more bytes are collected in pieces until they are whole.
_LARGE = 16 * 1024

_ACK = b"\x00\x3c\x00\x50"
_NACK = b"\x00\x3c\x00\x78"
DELIVER = b"\x00\x3c\x00\x3c"
RETURN = b"\x00\x3c\x00\x32"

#: `connection.close` and `channel.close`.
_CLOSES = (b"\x00\x0a\x00\x32", b"\x00\x14\x00\x28")


class Content:
    """A message whose frames are still arriving."""

    __slots__ = ("body_size", "chunks", "header", "method", "received")

    def __init__(self, method: bytes) -> None:
        self.method = method
        self.header = b""
        self.body_size = -1
        self.received = 0
        self.chunks: list[memoryview] = []


class Connection(pyamqp.Connection, ConnectionPort):  # type: ignore[misc]
    """A py-amqp connection that is pumped by its owner.

    Attributes:
        socket: The socket under it.
        answer_timeout: Seconds without any movement after which an answer of the broker is late; see `AnswerWatch`.
        suspicion: Which messages broke connections, as the `Link` knows; a suspect is set aside without being parsed.
        in_hand: Payload of the content header of the message at which this connection broke; None if it was none.
    """

    Channel = Channel

    def __init__(self, *args: Any, answer_timeout: float = 10.0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        user, password = kwargs.get("userid", "guest"), kwargs.get("password", "guest")
        self.authentication = mechanisms(user, password, encrypted=bool(self.ssl))
        self.answer_timeout = answer_timeout
        self.socket: BatchingSocket
        self.suspicion = Suspicion()
        self.in_hand: bytes | None = None
        self._buffer = b""
        self._position = 0
        # A large frame that is still arriving, in pieces, and how many bytes of it are missing.
        self._pieces: list[bytes] = []
        self._missing = 0
        self._contents: dict[int, Content] = {}
        self._beat_timer: Any = None
        self._beat_due = False
        # Whether a synchronous method may have taken a wake, or dispatched something, meant for the owner's work.
        self._look_again = False
        # The greenlet that pumps, and what others wait for that want an answer: its next turn.
        self._owner: Any = None
        self._turn = Event()
        self._others = 0

    def Transport(  # noqa: N802  (py-amqp's name)
        self, host: str, connect_timeout: float | None, ssl: Any = None, *args: Any, **kwargs: Any
    ) -> BatchingSocket:
        self.socket = BatchingSocket(host, connect_timeout=connect_timeout, tls=ssl or None)
        return self.socket

    def connect(self, callback: Callable[[], Any] | None = None) -> None:
        """Connect and shake hands, then start the heartbeat.

        Each step has ``connect_timeout``; see `AnswerWatch` for those of AMQP.

        Raises:
            Silence: The broker accepted the connection but did not answer in time.
            OSError: The connection could not be made.
            AMQPError: The broker refused.
        """
        try:
            self.transport = self.Transport(self.host, self.connect_timeout, self.ssl)
            self.socket.connect()
            self.on_inbound_frame = self.frame_handler_cls(self, self.on_inbound_method)
            self.frame_writer = self.frame_writer_cls(self, self.transport)
            with AnswerWatch(self.socket, self.connect_timeout, "answer to the handshake"):
                while not self._handshake_complete:
                    self.drain_events()
        except BaseException:
            self.abandon()
            raise
        if self.heartbeat:
            self._beat_timer = get_hub().loop.timer(self.heartbeat / 4, self.heartbeat / 4)
            self._beat_timer.start(contained, self._on_beat)

    def _on_start(
        self, major: int, minor: int, properties: dict[str, Any], offered: Any, locales: str, *args: Any
    ) -> None:
        """Answer `connection.start` with a mechanism that the broker offers.

        Raises:
            NoMechanism: There is none.
        """
        names = (offered.decode() if isinstance(offered, bytes) else offered).split()
        if not any(each.mechanism.decode() in names for each in self.authentication):
            raise NoMechanism(names, bool(self.ssl))
        super()._on_start(major, minor, properties, offered, locales, *args)

    def _on_tune(self, channel_max: int, frame_max: int, server_heartbeat: int, *args: Any) -> None:
        """Answer `connection.tune`.

        Raises:
            SmallFrames: The broker would end the connection.
        """
        check_frames(frame_max, self.server_properties)
        super()._on_tune(channel_max, frame_max, server_heartbeat, *args)

    def pump(self) -> None:
        """Dispatch every frame that is here; where none is, wait for some, or for `wake`.

        After a synchronous method it does not wait: what was asked for meanwhile would be forgotten until the
        next frame.

        Raises:
            OSError: The connection is lost.
            AMQPError: The broker closed the connection.
        """
        self._owner = getcurrent()
        look_again, self._look_again = self._look_again, False
        if not self._dispatch_all() and not look_again:
            self.socket.wait()
            self._receive()
            self._dispatch_all()
        if self._others:
            self._end_turn()
        if self._beat_due:
            self._beat()

    def _end_turn(self) -> None:
        """Let the greenlets that wait for answers look whether theirs was among what was dispatched."""
        turn, self._turn = self._turn, Event()
        turn.set()

    def drain_events(self, timeout: float | None = None) -> None:
        """Dispatch frames up to and including one whole method, as py-amqp's own does.

        Called by py-amqp's synchronous methods; ``timeout`` is left to `Channel.wait`. While a greenlet pumps, another
        one only waits until that has dispatched something.
        """
        if self._owner is not None and self._owner is not getcurrent():
            self._others += 1
            try:
                self._turn.wait()
            finally:
                self._others -= 1
            return
        self._look_again = True
        while not self._dispatch_one():
            self.socket.wait()
            self._receive()
            self._beat()

    @property
    def tls_session(self) -> TlsSession | None:
        """The TLS session; None where there is none."""
        return self.socket.session

    def answer_within(self, seconds: float) -> AnswerWatch:
        """Raise `Silence` where an answer is late by so many seconds within the context."""
        return AnswerWatch(self.socket, seconds)

    def wake(self) -> None:
        """End the owner's wait; from any greenlet."""
        self.socket.wake()

    def abandon(self) -> None:
        """Close the socket without any farewell, and drop every channel."""
        if self._beat_timer is not None:
            self._beat_timer.stop()
            self._beat_timer.close()
            self._beat_timer = None
        if self._transport is not None:
            self.socket.close()
        self.collect()
        self._end_turn()

    def close(self, *args: Any, **kwargs: Any) -> None:
        """Say goodbye to the broker and wait for its answer, for a limited time.

        Raises:
            Silence: No answer came.
        """
        try:
            super().close(*args, **kwargs)  # type: ignore[safe-super]  # (py-amqp's)
        finally:
            self.abandon()

    def wait(self, *args: Any, **kwargs: Any) -> Any:
        """Wait for the answer to a method of the connection's own; see `Channel.wait`.

        Raises:
            Silence: The answer is late.
        """
        with AnswerWatch(self.socket, self.answer_timeout):
            return super().wait(*args, **kwargs)

    # -- heartbeats -------------------------------------------------------------------------

    def _on_beat(self) -> None:
        self._beat_due = True
        self.socket.wake()

    def _beat(self) -> None:
        """Send a heartbeat when its time has come, and notice a broker that sends none.

        It runs after what has arrived was read, so that a handler which kept the processor busy
        is not taken for a silent broker.
        """
        if not self._beat_due:
            return
        self._beat_due = False
        sock, now = self.socket, monotonic()
        silent = now - sock.last_received
        if silent > 2 * self.heartbeat:
            raise Silence(f"no sign of life from the broker for {silent:.1f} s")
        if now - sock.last_sent > self.heartbeat / 4 * 0.9:
            sock.write_frames(HEARTBEAT, at_once=True)

    # -- frames -----------------------------------------------------------------------------

    def _receive(self) -> None:
        data = self.socket.receive()
        if not data:
            return
        if self._missing:
            self._pieces.append(data)
            self._missing = max(0, self._missing - len(data))
            if self._missing:
                return
            data = b"".join(self._pieces)
            self._pieces.clear()
        elif self._position < len(self._buffer):
            data = self._buffer[self._position :] + data
        self._buffer = data
        self._position = 0

    def _dispatch_all(self) -> bool:
        """Dispatch all whole frames in the buffer; return whether there was any."""
        if self._position + 8 > len(self._buffer):
            return False
        any_dispatched = False
        while self._dispatch_frame() is not None:
            any_dispatched = True
        return any_dispatched

    def _dispatch_one(self) -> bool:
        """Dispatch frames up to the end of one method; return whether one was complete."""
        while True:
            complete = self._dispatch_frame()
            if complete is None:
                return False
            if complete:
                return True

    def _dispatch_frame(self) -> bool | None:
        """Dispatch the next frame.

        Returns:
            True if it completed a method, False if not, None if no whole frame is here.
        """
        data, start = self._buffer, self._position
        if start + 8 > len(data):
            return None
        kind, channel_id, size = FRAME_HEADER.unpack_from(data, start)
        end = start + 7 + size
        if end >= len(data):
            if size > _LARGE:
                self._collect_frame(end + 1 - start)
            return None
        if data[end] != FRAME_END:
            raise UnexpectedFrame(f"frame of type {kind} ends with {data[end]:#04x}, not 0xce")
        self._position = end + 1
        if kind == METHOD:
            method = data[start + 7 : start + 11]
            if method == DELIVER:
                # While a message is suspected, each is looked at before it is parsed, once its frames are collected.
                if not self.suspicion.counts and self._deliver_whole(channel_id, data, start + 11, end + 1):
                    return True
                self._contents[channel_id] = Content(data[start + 7 : end])
                return False
            if method in (_ACK, _NACK):
                self._confirm(channel_id, data, start + 11, method == _ACK)
                return True
            if method == RETURN:
                self._contents[channel_id] = Content(data[start + 7 : end])
                return False
        elif channel_id in self._contents:
            return self._collect_content(channel_id, kind, memoryview(data)[start + 7 : end])
        return self._give_to_py_amqp(kind, channel_id, data[start + 7 : end])

    def _give_to_py_amqp(self, kind: int, channel_id: int, payload: bytes) -> bool:
        """Have py-amqp handle a frame; return whether it completed a method."""
        if kind == METHOD and payload[:4] in _CLOSES:
            payload = readable_close(payload)
        return bool(self.on_inbound_frame((kind, channel_id, payload)))

    def _collect_frame(self, size: int) -> None:
        """Keep the beginning of a large frame aside until the rest is here, instead of joining it again and again."""
        beginning = self._buffer[self._position :]
        self._pieces.append(beginning)
        self._missing = size - len(beginning)
        self._buffer, self._position = b"", 0

    def _confirm(self, channel_id: int, data: bytes, start: int, acked: bool) -> None:
        channel = self.channels.get(channel_id)
        if channel is not None and channel.on_confirm is not None:
            tag = int.from_bytes(data[start : start + 8], "big")
            channel.on_confirm(tag, bool(data[start + 8] & 1), acked)

    def _deliver_whole(self, channel_id: int, data: bytes, arguments: int, header: int) -> bool:
        """Deliver a message all of whose frames are in the buffer; return whether they were."""
        limit = len(data)
        if header + 8 > limit:
            return False
        kind, channel, size = FRAME_HEADER.unpack_from(data, header)
        header_end = header + 7 + size
        if header_end >= limit or kind != HEADER or channel != channel_id:
            return False
        try:
            body_size, properties = parse_header(data, header + 7, header_end)
            end, body = header_end, b""
            if body_size:
                start = header_end + 8
                end = start + body_size
                if end >= limit:
                    return False
                kind, channel, size = FRAME_HEADER.unpack_from(data, header_end + 1)
                if kind != BODY or channel != channel_id or size != body_size:
                    return False
                body = data[start:end]
            if data[header_end] != FRAME_END or data[end] != FRAME_END:
                raise UnexpectedFrame("a content frame does not end with 0xce")
            self._position = end + 1
            self._deliver(channel_id, data, arguments, header - 1, properties, body)
        except BaseException:
            self.in_hand = data[header + 7 : header_end]
            raise
        return True

    def _collect_content(self, channel_id: int, kind: int, payload: memoryview) -> bool:
        content = self._contents[channel_id]
        if kind == HEADER:
            content.header = bytes(payload)
            content.body_size = int.from_bytes(payload[4:12], "big")
        elif kind == BODY and content.body_size >= 0:
            content.chunks.append(payload)
            content.received += len(payload)
        else:
            raise UnexpectedFrame(f"frame of type {kind} in the middle of a message")
        if content.received < content.body_size:
            return False
        del self._contents[channel_id]
        try:
            if content.method[:4] == DELIVER:
                self._deliver_warily(channel_id, content.method[4:], content.header, b"".join(content.chunks))
            else:
                self._return(channel_id, content)
        except BaseException:
            self.in_hand = content.header
            raise
        return True

    def _deliver_warily(self, channel_id: int, arguments: bytes, header: bytes, body: bytes) -> None:
        """Deliver a message, or set it aside if it is suspected of breaking connections."""
        suspicion = self.suspicion
        if suspicion and suspicion.is_suspect(header):
            self._set_aside(channel_id, arguments, body)
        else:
            _, properties = parse_header(header, 0, len(header))
            self._deliver(channel_id, arguments, 0, len(arguments), properties, body)
        if suspicion:
            suspicion.clear(header)

    def _set_aside(self, channel_id: int, arguments: bytes, body: bytes) -> None:
        """Have the channel set a message aside; its properties stay unread."""
        channel = self.channels.get(channel_id)
        # (What comes on a channel that closes is for others.)
        if channel is not None and not channel.is_closing:
            _, delivery_tag, redelivered, source = parse_deliver(arguments, 0, len(arguments))
            channel.set_aside(IncomingMessage(channel, delivery_tag, redelivered, {}, body, *source))

    def _deliver(
        self, channel_id: int, data: bytes, start: int, end: int, properties: dict[str, Any], body: bytes
    ) -> None:
        channel = self.channels.get(channel_id)
        if channel is None:
            return
        consumer_tag, delivery_tag, redelivered, source = parse_deliver(data, start, end)
        deliver = channel.consumers.get(consumer_tag.decode("utf-8", "surrogateescape"))
        if deliver is None:
            # It crossed our cancel on its way: it is for others. (So is what comes on a channel that closes.)
            if not channel.is_closing:
                channel.reject(delivery_tag, requeue=True)
            return
        deliver(IncomingMessage(channel, delivery_tag, redelivered, properties, body, *source))

    def _return(self, channel_id: int, content: Content) -> None:
        channel = self.channels.get(channel_id)
        if channel is not None and channel.on_return is not None:
            code, text, exchange, routing_key = parse_return(content.method, 4)
            _, properties = parse_header(content.header, 0, len(content.header))
            message_id = properties.get("message_id")
            channel.on_return(f"{code} {text}", exchange, routing_key, message_id)


class Transport(pyamqp.Transport):  # type: ignore[misc]
    """The transport class to give to `kombu.Connection`."""

    Connection = Connection
