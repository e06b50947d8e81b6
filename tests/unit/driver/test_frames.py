"""Frames of messages: byte for byte as py-amqp writes them, and read whatever a peer has put into them."""

from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from amqp import spec
from amqp.basic_message import Message
from amqp.method_framing import frame_writer
from amqp.serialization import dumps
from hypothesis import example, given
from hypothesis import strategies as st
from pamqp import body as pamqp_body
from pamqp import commands, frame, header

from amphora.driver.frames import (
    FRAME_HEADER,
    HEARTBEAT,
    encode_ack,
    encode_body,
    encode_give_back,
    encode_header,
    encode_publish,
    encode_reject,
    parse_deliver,
    parse_header,
    parse_return,
)
from amphora.protocol.messages import reply_properties, request_properties

CHANNEL = 7

valid_text = st.characters(exclude_categories=["Cs"])
short_text = st.text(valid_text, max_size=60)
octet = st.integers(0, 255)
table_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False, width=32)
    | short_text
    | st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1)).map(lambda moment: moment.replace(microsecond=0))
    | st.decimals(-1000, 1000, places=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=5), inner, max_size=3),
    max_leaves=8,
)
properties_of_messages = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(
            (
                "content_type",
                "content_encoding",
                "correlation_id",
                "reply_to",
                "expiration",
                "message_id",
                "type",
                "user_id",
                "app_id",
                "cluster_id",
            ),
            short_text | st.none(),
        ),
        "headers": st.dictionaries(st.text("abc", max_size=5), table_values, max_size=4),
        "delivery_mode": octet,
        "priority": octet,
        "timestamp": st.integers(0, 2**64 - 1),
    },
)


def named_as_py_amqp_does(properties: dict[str, Any]) -> dict[str, Any]:
    return {"application_headers" if name == "headers" else name: value for name, value in properties.items()}


def frames_of_py_amqp(method: tuple[int, int], arguments: bytes, content: Message | None, frame_max: int) -> bytes:
    """Let py-amqp write a method, and return the bytes that it gives to its transport."""
    written: list[bytes] = []
    connection = SimpleNamespace(frame_max=frame_max, bytes_sent=0)
    transport = SimpleNamespace(write=lambda data: written.append(bytes(data)))
    frame_writer(connection, transport)(1, CHANNEL, method, arguments, content)
    return b"".join(written)


def encode_content(channel: int, properties: dict[str, Any], body: bytes, *, frame_max: int) -> bytes:
    header = encode_header(channel, properties, len(body))
    return header + b"".join(encode_body(channel, body, frame_max=frame_max))


def header_payload(frames: bytes) -> bytes:
    """Return the payload of the header frame that begins there."""
    return frames[7 : 7 + int.from_bytes(frames[3:7], "big")]


# Writing.


@given(
    exchange=short_text,
    routing_key=short_text,
    mandatory=st.booleans(),
    properties=properties_of_messages,
    body=st.binary(max_size=300),
    frame_max=st.sampled_from([64, 100, 131072]),
)
def test_a_published_message_is_what_py_amqp_writes(
    exchange: str, routing_key: str, mandatory: bool, properties: dict[str, Any], body: bytes, frame_max: int
) -> None:
    arguments = dumps("Bssbb", (0, exchange, routing_key, mandatory, False))
    message = Message(body, **named_as_py_amqp_does(properties))

    ours = encode_publish(CHANNEL, exchange, routing_key, mandatory=mandatory)
    ours += encode_content(CHANNEL, properties, body, frame_max=frame_max)

    assert ours == frames_of_py_amqp(spec.Basic.Publish, arguments, message, frame_max)


# What our own messages have, which is encoded and parsed on a way of its own.
ids = st.uuids().map(str) | short_text.filter(bool)
usual_properties = st.one_of(
    st.builds(
        request_properties,
        ids,
        reply_to=short_text,
        content_type=st.sampled_from(["application/json", "application/msgpack", ""]),
        timestamp=st.integers(0, 2**32),
    ),
    st.builds(reply_properties, ids | st.none(), content_type=st.sampled_from(["application/json", "x/y"])),
)


@given(properties=usual_properties, body=st.binary(max_size=300))
def test_requests_and_replies_are_what_py_amqp_writes(properties: dict[str, Any], body: bytes) -> None:
    message = Message(body, **properties)

    ours = encode_publish(CHANNEL, "exchange", "key", mandatory=True)
    ours += encode_content(CHANNEL, properties, body, frame_max=131072)

    arguments = dumps("Bssbb", (0, "exchange", "key", True, False))
    assert ours == frames_of_py_amqp(spec.Basic.Publish, arguments, message, 131072)


@given(
    exchange=st.text("abc_.-", max_size=60),
    routing_key=short_text,
    mandatory=st.booleans(),
    properties=usual_properties | properties_of_messages,
    body=st.binary(min_size=1, max_size=300),
)
def test_a_published_message_is_what_pamqp_writes(
    exchange: str, routing_key: str, mandatory: bool, properties: dict[str, Any], body: bytes
) -> None:
    # Its tables have other, equally right types for numbers, and it leaves empty text out.
    comparable = {name: value for name, value in properties.items() if value and name not in ("headers", "cluster_id")}
    comparable["timestamp"] = properties.get("timestamp", 0) % 2**32
    comparable["delivery_mode"] = 1 + comparable.get("delivery_mode", 1) % 2
    comparable["priority"] = comparable.get("priority", 1) % 10
    named = {"message_type" if name == "type" else name: value for name, value in comparable.items()}
    named["timestamp"] = datetime.fromtimestamp(comparable["timestamp"], UTC)

    ours = encode_publish(CHANNEL, exchange, routing_key, mandatory=mandatory)
    ours += encode_content(CHANNEL, comparable, body, frame_max=131072)

    theirs = frame.marshal(commands.Basic.Publish(0, exchange, routing_key, mandatory, False), CHANNEL)
    content_header = header.ContentHeader(body_size=len(body), properties=commands.Basic.Properties(**named))
    theirs += frame.marshal(content_header, CHANNEL)
    theirs += frame.marshal(pamqp_body.ContentBody(body), CHANNEL)
    assert ours == theirs


@given(tag=st.integers(0, 2**63 - 1), bit=st.booleans())
def test_acknowledgements_and_rejections_are_what_pamqp_writes(tag: int, bit: bool) -> None:
    assert encode_ack(CHANNEL, tag, multiple=bit) == frame.marshal(commands.Basic.Ack(tag, bit), CHANNEL)
    assert encode_reject(CHANNEL, tag, requeue=bit) == frame.marshal(commands.Basic.Reject(tag, bit), CHANNEL)
    assert encode_give_back(CHANNEL, tag) == frame.marshal(commands.Basic.Nack(tag, False, True), CHANNEL)


@given(
    tag=st.text(valid_text, max_size=20),
    delivery_tag=st.integers(0, 2**63 - 1),
    redelivered=st.booleans(),
    properties=usual_properties,
)
def test_a_delivery_as_pamqp_writes_it_is_read(
    tag: str, delivery_tag: int, redelivered: bool, properties: dict[str, Any]
) -> None:
    # It leaves empty text out.
    named = {name: value for name, value in properties.items() if value != ""}
    if "timestamp" in named:
        named["timestamp"] = datetime.fromtimestamp(named["timestamp"], UTC)
    delivered = frame.marshal(commands.Basic.Deliver(tag, delivery_tag, redelivered, "exchange", "key"), CHANNEL)
    content = frame.marshal(header.ContentHeader(body_size=5, properties=commands.Basic.Properties(**named)), CHANNEL)

    payload = header_payload(content)

    arguments = FRAME_HEADER.size + 4, len(delivered) - 1
    assert parse_deliver(delivered, *arguments) == (tag.encode(), delivery_tag, redelivered, ("exchange", "key"))
    assert parse_header(payload, 0, len(payload)) == (5, {k: v for k, v in properties.items() if v != ""})


@given(properties=usual_properties, cut=st.integers(0, 120), after=st.binary(max_size=40))
def test_a_cut_header_of_a_request_or_reply_is_read_as_far_as_it_goes(
    properties: dict[str, Any], cut: int, after: bytes
) -> None:
    whole = header_payload(encode_header(CHANNEL, properties, 5))
    payload = whole[: max(14, len(whole) - cut)]

    size, found = parse_header(payload + after, 0, len(payload))

    assert size == 5
    assert found.items() <= properties.items()


@pytest.mark.parametrize("size", [0, 1, 91, 92, 93, 184, 185, 1000])
def test_bodies_are_cut_at_the_frame_size_that_was_agreed_on(size: int) -> None:
    body = bytes(size)

    ours = encode_content(CHANNEL, {}, body, frame_max=100)

    theirs = frames_of_py_amqp(spec.Basic.Publish, b"", Message(body), 100)
    assert ours == theirs[len(frames_of_py_amqp(spec.Basic.Publish, b"", None, 100)) :]


@given(tag=st.integers(0, 2**64 - 1), bit=st.booleans())
def test_acknowledgements_and_rejections_are_what_py_amqp_writes(tag: int, bit: bool) -> None:
    arguments = dumps("Lb", (tag, bit))

    assert encode_ack(CHANNEL, tag, multiple=bit) == frames_of_py_amqp(spec.Basic.Ack, arguments, None, 131072)
    assert encode_reject(CHANNEL, tag, requeue=bit) == frames_of_py_amqp(spec.Basic.Reject, arguments, None, 131072)


def test_a_heartbeat_is_an_empty_frame_of_type_8_on_channel_0() -> None:
    frame = bytes([8, 0, 0, 0, 0, 0, 0, 0xCE])

    assert frame == HEARTBEAT


def test_a_short_string_that_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="range"):
        encode_publish(CHANNEL, "x" * 256, "", mandatory=True)


# Reading.


@given(properties=properties_of_messages, body=st.binary(max_size=50), before=st.binary(max_size=5), after=st.binary())
def test_a_header_is_read_as_py_amqp_reads_it(
    properties: dict[str, Any], body: bytes, before: bytes, after: bytes
) -> None:
    payload = header_payload(encode_content(CHANNEL, properties, body, frame_max=131072))
    theirs = Message()
    theirs.inbound_header(payload)

    size, ours = parse_header(before + payload + after, len(before), len(before) + len(payload))

    assert size == theirs.body_size == len(body)
    assert named_as_py_amqp_does(ours) == theirs.properties


@given(properties=properties_of_messages.map(lambda each: {k: v for k, v in each.items() if v is not None}))
def test_properties_come_back_as_they_were_given(properties: dict[str, Any]) -> None:
    payload = header_payload(encode_content(CHANNEL, properties, b"", frame_max=131072))

    assert parse_header(payload, 0, len(payload)) == (0, properties)


@given(short=st.binary(max_size=255))
def test_short_strings_that_are_no_utf_8_go_back_as_they_came(short: bytes) -> None:
    payload = b"\x00\x3c\x00\x00" + bytes(8) + (0x0080).to_bytes(2, "big") + bytes([len(short)]) + short

    _, properties = parse_header(payload, 0, len(payload))

    assert header_payload(encode_content(CHANNEL, properties, b"", frame_max=131072)) == payload


content_headers = st.builds(
    lambda size, flags, rest: b"\x00\x3c\x00\x00" + size.to_bytes(8, "big") + flags.to_bytes(2, "big") + rest,
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**16 - 1) | st.sampled_from([0x2000, 0xA000, 0x3000, 0x2040]),
    st.binary(max_size=100)
    # A table of a plausible length with anything in it.
    | st.binary(max_size=60).map(lambda table: len(table).to_bytes(4, "big") + table),
)


@given(payload=content_headers)
@example(b"\x00\x3c\x00\x00" + bytes(8) + b"\x20\x00\xff\xff\xff\xff")
@example(b"\x00\x3c\x00\x00" + bytes(8) + b"\x20\x00\x00\x00\x00\x03\x01aZ")
@example(b"\x00\x3c\x00\x00" + bytes(8) + b"\x20\x00\x00\x00\x00\x0b\x01aT\xff\xff\xff\xff\xff\xff\xff\xff")
def test_no_header_breaks_the_reader(payload: bytes) -> None:
    size, properties = parse_header(payload, 0, len(payload))

    assert size == int.from_bytes(payload[4:12], "big")
    assert isinstance(properties, dict)


@given(payload=content_headers, after=st.binary(max_size=100))
@example(b"\x00\x3c\x00\x00" + bytes(8) + b"\x10\x00", b"\x02")
@example(b"\x00\x3c\x00\x00" + bytes(8) + b"\x00\x40", bytes(8))
@example(b"\x00\x3c\x00\x00" + bytes(8) + b"\x20\x00\x00\x00\x00\x04", b"\x01aI\x00\x00\x00\x01")
def test_a_header_is_never_read_beyond_its_end(payload: bytes, after: bytes) -> None:
    followed, alone = parse_header(payload + after, 0, len(payload)), parse_header(payload, 0, len(payload))

    # As text: a header may hold a float that is not equal to itself.
    assert repr(followed) == repr(alone)


def test_a_header_table_that_cannot_be_read_is_left_out_and_the_rest_is_read() -> None:
    broken = b"\x01aZ\x00"
    listed = len(broken).to_bytes(4, "big") + broken + b"\x02\x03abc"
    payload = b"\x00\x3c\x00\x00" + bytes(8) + (0x2000 | 0x1000 | 0x0080).to_bytes(2, "big") + listed

    assert parse_header(payload, 0, len(payload)) == (0, {"delivery_mode": 2, "message_id": "abc"})


def test_a_table_nested_a_thousand_times_is_left_out() -> None:
    table = b""
    for _ in range(5000):
        table = b"\x01aF" + len(table).to_bytes(4, "big") + table
    listed = len(table).to_bytes(4, "big") + table + b"\x02"
    payload = b"\x00\x3c\x00\x00" + bytes(8) + (0x2000 | 0x1000).to_bytes(2, "big") + listed

    assert parse_header(payload, 0, len(payload)) == (0, {"delivery_mode": 2})


@given(
    tag=short_text,
    delivery_tag=st.integers(0, 2**64 - 1),
    redelivered=st.booleans(),
    exchange=short_text,
    routing_key=short_text,
    after=st.binary(max_size=5),
)
def test_the_arguments_of_a_delivery_are_read(
    tag: str, delivery_tag: int, redelivered: bool, exchange: str, routing_key: str, after: bytes
) -> None:
    arguments = dumps("sLbss", (tag, delivery_tag, redelivered, exchange, routing_key))

    found = parse_deliver(b"skip" + arguments + after, 4, 4 + len(arguments))

    assert found == (tag.encode(), delivery_tag, redelivered, (exchange, routing_key))


def test_a_routing_key_that_is_not_utf_8_is_read() -> None:
    arguments = b"\x01t" + bytes(8) + b"\x00" + b"\x01e" + b"\x02\xff\xfe"

    assert parse_deliver(arguments, 0, len(arguments)) == (b"t", 0, False, ("e", "\udcff\udcfe"))


@given(code=st.integers(0, 2**16 - 1), text=short_text, exchange=short_text, routing_key=short_text)
def test_the_arguments_of_a_return_are_read(code: int, text: str, exchange: str, routing_key: str) -> None:
    arguments = dumps("Bsss", (code, text, exchange, routing_key))

    assert parse_return(b"skip" + arguments, 4) == (code, text, exchange, routing_key)


def test_a_decimal_and_a_moment_in_a_header_table_are_read() -> None:
    headers = {"price": Decimal("1.10"), "at": datetime(2024, 2, 29, 1, 2, 3)}
    payload = header_payload(encode_content(CHANNEL, {"headers": headers}, b"", frame_max=131072))

    assert parse_header(payload, 0, len(payload)) == (0, {"headers": headers})
