"""Frames of the messages themselves, encoded and parsed directly.

Everything else on a connection goes through py-amqp as it is. Source: AMQP 0-9-1, 2.3.5 (frames),
4.2.6 (content) and the grammar of `basic`. Short strings are UTF-8 here; bytes that are not are kept
with ``surrogateescape``, so that any peer's message id can be read and sent back unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from struct import Struct, pack
from typing import Any

from amphora.driver.tables import TableError, encode_table, parse_table

__all__ = [
    "BODY",
    "FRAME_END",
    "FRAME_HEADER",
    "HEADER",
    "HEARTBEAT",
    "METHOD",
    "encode_ack",
    "encode_body",
    "encode_give_back",
    "encode_header",
    "encode_publish",
    "encode_reject",
    "parse_deliver",
    "parse_header",
    "parse_return",
    "readable_close",
]

METHOD, HEADER, BODY = 1, 2, 3
FRAME_END = 0xCE

#: A heartbeat frame, whole (AMQP 0-9-1, 4.2.7).
HEARTBEAT = b"\x08\x00\x00\x00\x00\x00\x00\xce"

#: Type, channel and payload size of a frame.
FRAME_HEADER = Struct(">BHI")

#: Octets of a frame around its payload.
_OVERHEAD = 8

_CONTENT = Struct(">BHIHHQH")
_CONTENT_HEADER = Struct(">HxxQH")
_ACK = Struct(">BHIHHQBB")
_TAG_AND_BIT = Struct(">QB")

_BASIC, _PUBLISH, _ACK_METHOD, _REJECT_METHOD, _NACK_METHOD = 60, 40, 80, 90, 120

#: The bit of `basic.nack` that gives the message back; that before it would do so with all earlier ones.
_REQUEUE = 2

_SHORT, _TABLE, _OCTET, _LONGLONG = "s", "F", "o", "L"

#: The properties of `basic` in their order, each with its flag and type.
_PROPERTIES = (
    ("content_type", 0x8000, _SHORT),
    ("content_encoding", 0x4000, _SHORT),
    ("headers", 0x2000, _TABLE),
    ("delivery_mode", 0x1000, _OCTET),
    ("priority", 0x0800, _OCTET),
    ("correlation_id", 0x0400, _SHORT),
    ("reply_to", 0x0200, _SHORT),
    ("expiration", 0x0100, _SHORT),
    ("message_id", 0x0080, _SHORT),
    ("timestamp", 0x0040, _LONGLONG),
    ("type", 0x0020, _SHORT),
    ("user_id", 0x0010, _SHORT),
    ("app_id", 0x0008, _SHORT),
    ("cluster_id", 0x0004, _SHORT),
)
#: Flags of the properties that our own replies and requests have, and how many they are.
_REPLY, _IN_A_REPLY = 0x9480, 4
_REQUEST, _IN_A_REQUEST = 0x96C0, 6

_OCTETS = tuple(bytes((value,)) for value in range(256))


def encode_publish(channel: int, exchange: str, routing_key: str, *, mandatory: bool) -> bytes:
    """Encode the method frame of `basic.publish`."""
    payload = b"".join(
        (
            pack(">HHH", _BASIC, _PUBLISH, 0),
            _short(exchange),
            _short(routing_key),
            b"\x01" if mandatory else b"\x00",
        )
    )
    return FRAME_HEADER.pack(METHOD, channel, len(payload)) + payload + b"\xce"


def encode_header(channel: int, properties: Mapping[str, Any], size: int) -> bytes:
    """Encode the header frame of one message.

    Fast for requests and replies as `amphora.protocol.messages` makes them; right for all others.

    Args:
        channel: Number of the channel.
        properties: Properties by their AMQP names (``headers`` for the header table).
        size: Bytes of the body.
    """
    try:
        flags, listed = _usual(properties)
    except (LookupError, AttributeError):
        flags, listed = _any(properties)
    return b"%b%b\xce" % (_CONTENT.pack(HEADER, channel, 14 + len(listed), _BASIC, 0, size, flags), listed)


def _usual(properties: Mapping[str, Any]) -> tuple[int, bytes]:
    """Encode the properties of a request or reply of ours.

    Raises:
        KeyError: It is another message: a property is missing, or there are more.
        AttributeError: A property is None.
    """
    message_id = properties["message_id"]
    if properties["correlation_id"] is not message_id or properties["delivery_mode"] != 2:
        raise KeyError
    encoded = message_id.encode("utf-8", "surrogateescape")
    short = _OCTETS[len(encoded)] + encoded
    count = len(properties)
    if count == _IN_A_REPLY:
        return _REPLY, b"%b\x02%b%b" % (_kept_short(properties["content_type"]), short, short)
    if count != _IN_A_REQUEST:
        raise KeyError
    return _REQUEST, b"%b\x02%b%b%b%b" % (
        _kept_short(properties["content_type"]),
        short,
        _kept_short(properties["reply_to"]),
        short,
        properties["timestamp"].to_bytes(8, "big"),
    )


def _any(properties: Mapping[str, Any]) -> tuple[int, bytes]:
    flags = 0
    encoded = []
    for name, flag, kind in _PROPERTIES:
        value = properties.get(name)
        if value is None:
            continue
        flags |= flag
        if kind is _SHORT:
            encoded.append(_short(value))
        elif kind is _OCTET:
            encoded.append(bytes((value,)))
        elif kind is _LONGLONG:
            encoded.append(value.to_bytes(8, "big"))
        else:
            encoded.append(encode_table(value))
    return flags, b"".join(encoded)


def encode_body(channel: int, body: bytes, *, frame_max: int) -> list[bytes | memoryview]:
    """Encode the body frames of one message, in pieces: the body itself is not copied."""
    size, room = len(body), frame_max - _OVERHEAD
    if not size:
        return []
    if size <= room:
        return [FRAME_HEADER.pack(BODY, channel, size), body, b"\xce"]
    pieces: list[bytes | memoryview] = []
    view = memoryview(body)
    for start in range(0, size, room):
        chunk = view[start : start + room]
        pieces += (FRAME_HEADER.pack(BODY, channel, len(chunk)), chunk, b"\xce")
    return pieces


def encode_ack(channel: int, delivery_tag: int, *, multiple: bool) -> bytes:
    """Encode `basic.ack`, a whole frame."""
    return _ACK.pack(METHOD, channel, 13, _BASIC, _ACK_METHOD, delivery_tag, multiple, FRAME_END)


def encode_reject(channel: int, delivery_tag: int, *, requeue: bool) -> bytes:
    """Encode `basic.reject`, a whole frame."""
    return _ACK.pack(METHOD, channel, 13, _BASIC, _REJECT_METHOD, delivery_tag, requeue, FRAME_END)


def encode_give_back(channel: int, delivery_tag: int) -> bytes:
    """Encode `basic.nack` with requeue, a whole frame.

    RabbitMQ 4.3 counts a `basic.reject` with requeue towards the delivery limit of a quorum queue, and this one not.
    """
    return _ACK.pack(METHOD, channel, 13, _BASIC, _NACK_METHOD, delivery_tag, _REQUEUE, FRAME_END)


def parse_deliver(data: bytes, start: int, end: int) -> tuple[bytes, int, bool, tuple[str, str]]:
    """Parse the arguments of `basic.deliver`, which lie between ``start`` and ``end``.

    Returns:
        Consumer tag, delivery tag, whether the message was delivered before, and its exchange and routing key.
    """
    tag_end = start + 1 + data[start]
    delivery_tag, redelivered = _TAG_AND_BIT.unpack_from(data, tag_end)
    return data[start + 1 : tag_end], delivery_tag, bool(redelivered & 1), _parse_source(data[tag_end + 9 : end])


@lru_cache(1024)
def _parse_source(data: bytes) -> tuple[str, str]:
    """Parse exchange and routing key, which many messages share."""
    exchange, position = _read_short(data, 0)
    routing_key, _ = _read_short(data, position)
    return exchange, routing_key


def parse_return(data: bytes, start: int) -> tuple[int, str, str, str]:
    """Parse the arguments of `basic.return` which begin at ``start``.

    Returns:
        Reply code, reply text, exchange and routing key.
    """
    code = int.from_bytes(data[start : start + 2], "big")
    text, position = _read_short(data, start + 2)
    exchange, position = _read_short(data, position)
    routing_key, _ = _read_short(data, position)
    return code, text, exchange, routing_key


def readable_close(payload: bytes) -> bytes:
    """Return the payload of `connection.close` or `channel.close` with a reply text that is UTF-8.

    RabbitMQ cuts a long text off, and with it the character of a name that stands there.
    """
    end = 7 + payload[6]
    text = payload[7:end].decode("utf-8", "ignore").encode()
    return b"%b%c%b%b" % (payload[:6], len(text), text, payload[end:])


def parse_header(data: bytes, start: int, end: int) -> tuple[int, dict[str, Any]]:
    """Parse the payload of a content header.

    A header table, or anything after it, that cannot be read is left out: no peer's message may
    break the connection that delivers it.

    Args:
        data: Bytes that hold the payload.
        start: Where it begins.
        end: Where it ends.

    Returns:
        Size of the body and the properties.
    """
    _, size, flags = _CONTENT_HEADER.unpack_from(data, start)
    start += _CONTENT_HEADER.size
    if flags in (_REPLY, _REQUEST):
        try:
            return size, _parse_usual(flags, data, start, end)
        except (IndexError, ValueError):
            # A peer's mistake, which is read as far as it goes.
            return size, _parse_any(flags, data, start, end)
    return size, _parse_any(flags, data, start, end)


def _parse_usual(flags: int, data: bytes, start: int, end: int) -> dict[str, Any]:
    """Parse the properties of a request or reply.

    Raises:
        IndexError, ValueError: They are not what the flags announce.
    """
    position = start + 1 + data[start]
    content_type = _decode_kept(data[start + 1 : position])
    delivery_mode = data[position]
    start = position + 2
    position = start + data[position + 1]
    raw_id = data[start:position]
    correlation_id = raw_id.decode("utf-8", "surrogateescape")
    properties = {
        "content_type": content_type,
        "delivery_mode": delivery_mode,
        "correlation_id": correlation_id,
    }
    if flags == _REQUEST:
        start = position + 1
        position = start + data[position]
        properties["reply_to"] = _decode_kept(data[start:position])
    start = position + 1
    position = start + data[position]
    raw = data[start:position]
    properties["message_id"] = correlation_id if raw == raw_id else raw.decode("utf-8", "surrogateescape")
    if flags == _REQUEST:
        start, position = position, position + 8
        properties["timestamp"] = int.from_bytes(data[start:position], "big")
    if position > end:
        raise ValueError
    return properties


def _parse_any(flags: int, data: bytes, position: int, end: int) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    try:
        for name, flag, kind in _PROPERTIES:
            if not flags & flag:
                continue
            if kind is _SHORT:
                position_end = position + 1 + data[position]
                if position_end > end:
                    break
                properties[name] = data[position + 1 : position_end].decode("utf-8", "surrogateescape")
                position = position_end
            elif kind is _OCTET:
                if position >= end:
                    break
                properties[name] = data[position]
                position += 1
            elif kind is _LONGLONG:
                if position + 8 > end:
                    break
                properties[name] = int.from_bytes(data[position : position + 8], "big")
                position += 8
            else:
                position_end = position + 4 + int.from_bytes(data[position : position + 4], "big")
                if position_end > end:
                    break
                table = _read_table(data[position + 4 : position_end])
                if table is not None:
                    properties[name] = table
                position = position_end
    except IndexError:
        # Flags that announce more than the frame holds: what was read up to here stands.
        return properties
    return properties


@lru_cache(1024)
def _kept_short(text: str) -> bytes:
    """Encode text that many messages share."""
    return _short(text)


@lru_cache(1024)
def _decode_kept(raw: bytes) -> str:
    """Decode text that many messages share."""
    return raw.decode("utf-8", "surrogateescape")


def _short(text: str) -> bytes:
    encoded = text.encode("utf-8", "surrogateescape")
    return bytes((len(encoded),)) + encoded


def _read_short(data: bytes, start: int) -> tuple[str, int]:
    end = start + 1 + data[start]
    return data[start + 1 : end].decode("utf-8", "surrogateescape"), end


def _read_table(data: bytes) -> dict[str, Any] | None:
    try:
        return parse_table(data)
    except TableError:
        return None
