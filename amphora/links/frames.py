"""Frames of the messages themselves, encoded and parsed directly.

Everything else on a connection goes through py-amqp as it is. Source: AMQP 0-9-1, 2.3.5 (frames),
4.2.6 (content) and the grammar of `basic`. Short strings are UTF-8 here; bytes that are not are kept
with ``surrogateescape``, so that any peer's message id can be read and sent back unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from struct import Struct, pack
from struct import error as struct_error
from typing import Any

from amqp.serialization import dumps, loads

__all__ = [
    "BODY",
    "FRAME_END",
    "FRAME_HEADER",
    "HEADER",
    "HEARTBEAT",
    "METHOD",
    "encode_ack",
    "encode_content",
    "encode_publish",
    "encode_reject",
    "parse_deliver",
    "parse_header",
    "parse_return",
]

METHOD, HEADER, BODY = 1, 2, 3
FRAME_END = 0xCE

#: A heartbeat frame, whole (AMQP 0-9-1, 4.2.7).
HEARTBEAT = b"\x08\x00\x00\x00\x00\x00\x00\xce"

#: Type, channel and payload size of a frame.
FRAME_HEADER = Struct(">BHI")

#: Octets of a frame around its payload.
_OVERHEAD = 8

_CONTENT = Struct(">BHIHHQ")
_CONTENT_HEADER = Struct(">HxxQH")
_ACK = Struct(">BHIHHQBB")
_TAG_AND_BIT = Struct(">QB")

_BASIC, _PUBLISH, _ACK_METHOD, _REJECT_METHOD = 60, 40, 80, 90

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


def encode_content(channel: int, properties: Mapping[str, Any], body: bytes, *, frame_max: int) -> bytes:
    """Encode the header frame and the body frames of one message."""
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
            encoded.append(dumps("F", [value]))
    listed = b"".join(encoded)
    size = len(body)
    header = _CONTENT.pack(HEADER, channel, 14 + len(listed), _BASIC, 0, size)
    head = header + flags.to_bytes(2, "big") + listed + b"\xce"
    room = frame_max - _OVERHEAD
    if size <= room:
        if not size:
            return head
        return b"".join((head, FRAME_HEADER.pack(BODY, channel, size), body, b"\xce"))
    parts = [head]
    for start in range(0, size, room):
        chunk = body[start : start + room]
        parts += (FRAME_HEADER.pack(BODY, channel, len(chunk)), chunk, b"\xce")
    return b"".join(parts)


def encode_ack(channel: int, delivery_tag: int, *, multiple: bool) -> bytes:
    """Encode `basic.ack`, a whole frame."""
    return _ACK.pack(METHOD, channel, 13, _BASIC, _ACK_METHOD, delivery_tag, multiple, FRAME_END)


def encode_reject(channel: int, delivery_tag: int, *, requeue: bool) -> bytes:
    """Encode `basic.reject`, a whole frame."""
    return _ACK.pack(METHOD, channel, 13, _BASIC, _REJECT_METHOD, delivery_tag, requeue, FRAME_END)


def parse_deliver(data: bytes, start: int) -> tuple[bytes, int, bool]:
    """Parse the arguments of `basic.deliver` which begin at ``start``.

    Returns:
        Consumer tag, delivery tag and whether the message was delivered before.
    """
    tag_end = start + 1 + data[start]
    delivery_tag, redelivered = _TAG_AND_BIT.unpack_from(data, tag_end)
    return data[start + 1 : tag_end], delivery_tag, bool(redelivered & 1)


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
    position = start + _CONTENT_HEADER.size
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
                table = _read_table(data[position:position_end])
                if table is not None:
                    properties[name] = table
                position = position_end
    except IndexError:
        # Flags that announce more than the frame holds: what was read up to here stands.
        return size, properties
    return size, properties


def _short(text: str) -> bytes:
    encoded = text.encode("utf-8", "surrogateescape")
    return bytes((len(encoded),)) + encoded


def _read_short(data: bytes, start: int) -> tuple[str, int]:
    end = start + 1 + data[start]
    return data[start + 1 : end].decode("utf-8", "surrogateescape"), end


def _read_table(data: bytes) -> dict[str, Any] | None:
    try:
        (table,), _ = loads("F", data, 0)
    except (ValueError, KeyError, IndexError, RecursionError, struct_error, ArithmeticError):
        return None
    except Exception as error:
        # py-amqp's own FrameSyntaxError for a type that it does not know.
        if isinstance(error, (MemoryError, OSError)):
            raise
        return None
    return table if isinstance(table, dict) else None
