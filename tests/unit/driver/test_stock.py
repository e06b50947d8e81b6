"""The transport with py-amqp's own encoders does what the direct one does."""

from struct import pack
from typing import Any

import pytest
from amqp.method_framing import frame_writer
from amqp.serialization import dumps
from hypothesis import given
from hypothesis import strategies as st

from amphora.core.suspicion import LIMIT
from amphora.driver import stock, transport
from amphora.driver.frames import FRAME_HEADER, encode_publish, parse_header
from amphora.driver.incoming_message import IncomingMessage
from amphora.driver.unencodable import Unencodable
from tests.unit.driver.test_transport import (
    EVENTS,
    STREAM,
    Listener,
    by_channel,
    delivery,
    frames_of,
    in_pieces,
    method_frame,
)


@given(st.sets(st.integers(1, len(STREAM) - 1), max_size=30))
def test_what_arrives_is_dispatched_however_it_is_cut(cuts: set[int]) -> None:
    assert by_channel(Listener(in_pieces(STREAM, cuts), stock.Connection).pump()) == by_channel(EVENTS)


def test_messages_are_read_by_py_amqp(monkeypatch: pytest.MonkeyPatch) -> None:
    delivered: list[str] = []

    def note(self: stock.Channel, consumer_tag: str, *further: Any) -> None:
        delivered.append(consumer_tag)

    monkeypatch.setattr(stock.Channel, "_on_basic_deliver", note)

    Listener([delivery(1, 1, b"x", message_id="a"), delivery(1, 2, b"y" * 100)], stock.Connection).pump()

    assert delivered == ["tag", "tag"]


def header_frame(flags: int, properties: bytes, size: int) -> bytes:
    payload = pack(">HHQH", 60, 0, size, flags) + properties
    return FRAME_HEADER.pack(2, 1, len(payload)) + payload + b"\xce"


@pytest.mark.parametrize(
    ("header", "properties"),
    [
        pytest.param(
            header_frame(0x0080, b"\x02\xff\xfe", 1), {"message_id": "\udcff\udcfe"}, id="text that is no UTF-8"
        ),
        pytest.param(header_frame(0xFFFC, b"", 1), {}, id="nothing of what is announced"),
        pytest.param(header_frame(0x2000, b"\x00\x00\x00\x03\x01a?", 1), {}, id="a table that nobody knows"),
    ],
)
def test_what_py_amqp_cannot_read_is_delivered_all_the_same(header: bytes, properties: dict[str, Any]) -> None:
    method = method_frame(1, 60, 60, dumps("sLbss", ("tag", 9, False, "", "")))
    body = FRAME_HEADER.pack(3, 1, 1) + b"x\xce"
    following = delivery(1, 10, b"next", message_id="b")

    events = Listener([method + header + body + following], stock.Connection).pump()

    assert events == [
        ("delivery", 1, 9, False, properties, b"x"),
        ("delivery", 1, 10, False, {"message_id": "b"}, b"next"),
    ]


def writing(kind: type[transport.Connection]) -> Listener:
    """Give a connection that has shaken hands; `written` of its socket has what leaves."""
    listener = Listener([], kind)
    listener.connection.frame_max = 131072
    listener.socket.write = lambda data: listener.socket.written.append(bytes(data))  # type: ignore[attr-defined]
    listener.connection._frame_writer = frame_writer(listener.connection, listener.socket)
    return listener


@given(
    message_id=st.text(st.characters(codec="utf-8"), max_size=50),
    headers=st.dictionaries(st.text("abc", max_size=5), st.integers(-100, 100), max_size=3),
    body=st.binary(max_size=200),
)
def test_what_is_published_is_the_same_to_the_byte(message_id: str, headers: dict[str, Any], body: bytes) -> None:
    properties = {"content_type": "a/b", "headers": headers, "delivery_mode": 2, "message_id": message_id}
    direct, by_py_amqp = writing(transport.Connection), writing(stock.Connection)

    for listener in (direct, by_py_amqp):
        channel = listener.connection.channels[1]
        channel.publish("exchange", "key", properties, body, mandatory=True, at_once=False)

    assert b"".join(by_py_amqp.socket.written) == b"".join(direct.socket.written)


def test_text_that_was_no_utf_8_is_published_as_it_came() -> None:
    listener = writing(stock.Connection)

    listener.connection.channels[1].publish(
        "exchange", "key", {"message_id": "\udcff"}, b"", mandatory=True, at_once=False
    )

    assert b"\x01\xff" in b"".join(listener.socket.written)


both_kinds = pytest.mark.parametrize("kind", [transport.Connection, stock.Connection], ids=["direct", "stock"])


def encode(kind: type[transport.Connection], properties: dict[str, Any], **given: Any) -> bytes:
    """Encode a message, and return its frames."""
    message = {"exchange": "exchange", "routing_key": "key", "body": b"", "mandatory": True, **given}
    return b"".join(writing(kind).connection.channels[1].encode(properties=properties, **message))


@both_kinds
@pytest.mark.parametrize(
    ("properties", "given"),
    [
        ({}, {"exchange": "x" * 256}),
        ({}, {"routing_key": "ü" * 128}),
        ({}, {"routing_key": "\ud800"}),
        ({"message_id": "x" * 256}, {}),
        ({"expiration": 5}, {}),
        ({"timestamp": 2**64}, {}),
        ({"timestamp": -1}, {}),
        ({"priority": 256}, {}),
        ({"headers": {"deadline": 2**63}}, {}),
        ({"headers": {"ratio": float("nan")}}, {}),
        ({"headers": {"what": object()}}, {}),
        ({"headers": {"n" * 256: 1}}, {}),
    ],
    ids=repr,
)
def test_a_message_that_amqp_cannot_express_is_refused_before_anything_is_written(
    kind: type[transport.Connection], properties: dict[str, Any], given: dict[str, Any]
) -> None:
    listener = writing(kind)

    with pytest.raises(Unencodable) as caught:
        listener.connection.channels[1].publish(
            **{"exchange": "e", "routing_key": "k", "body": b"", "mandatory": True, "at_once": True, **given},
            properties=properties,
        )

    assert (caught.value.size, caught.value.limit) == (None, None)
    assert listener.socket.written == []


@both_kinds
def test_a_header_frame_may_be_as_large_as_was_agreed_upon(kind: type[transport.Connection]) -> None:
    overhead = len(encode(kind, {"headers": {"name": ""}})) - len(encode_publish(1, "exchange", "key", mandatory=True))

    assert len(encode(kind, {"headers": {"name": "x" * (131072 - overhead)}})) > 131072
    with pytest.raises(Unencodable) as caught:
        encode(kind, {"headers": {"name": "x" * (131073 - overhead)}})

    assert (caught.value.size, caught.value.limit) == (131073, 131072)


@both_kinds
def test_what_a_peer_sent_can_be_sent_on(kind: type[transport.Connection]) -> None:
    table = b"\x02\xff\xfeT" + (2**62).to_bytes(8, "big") + b"\x01aT" + (2**64 - 1).to_bytes(8, "big")
    header = header_frame(0x2000, len(table).to_bytes(4, "big") + table, 0)
    _, properties = parse_header(header, 7, len(header) - 1)

    assert encode(kind, properties).endswith(header)


@both_kinds
def test_writing_to_a_closed_channel_raises_nothing(kind: type[transport.Connection]) -> None:
    listener = writing(kind)
    channel = listener.connection.channels[1]
    frames = channel.encode("exchange", "key", {}, b"body", mandatory=True)

    channel.collect()

    channel.write(frames, at_once=True)


@both_kinds
def test_the_brokers_cancellation_of_a_consumer_is_answered_by_cancelling_it(kind: type[transport.Connection]) -> None:
    listener = writing(kind)
    cancelled: list[str] = []
    listener.connection.channels[1].cancel_callbacks["tag"] = cancelled.append
    cancel = method_frame(1, 60, 30, dumps("sb", ("tag", True)))
    # RabbitMQ 4.3 may say it more than once.
    listener.socket.pieces.extend([cancel, cancel])

    listener.pump()

    assert cancelled == ["tag"]
    assert listener.socket.written == [cancel, cancel]


def test_acknowledgements_are_the_same_to_the_byte() -> None:
    direct, by_py_amqp = writing(transport.Connection), writing(stock.Connection)

    for listener in (direct, by_py_amqp):
        listener.connection.channels[1].ack(5, multiple=True)
        listener.connection.channels[1].reject(6, requeue=False)

    assert b"".join(by_py_amqp.socket.written) == b"".join(direct.socket.written)


# Messages that break connections; see `amphora.core.suspicion`.


def suspicious(kind: type[transport.Connection], *pieces: bytes) -> tuple[Listener, list[IncomingMessage]]:
    """Give a connection to which the header of message 'a' is a suspect, and what is set aside on it."""
    listener = Listener(pieces, kind)
    header = frames_of(delivery(1, 1, b"body", message_id="a"))[1][7:-1]
    for _ in range(LIMIT):
        listener.connection.suspicion.blame(header, 0.0)
    aside: list[IncomingMessage] = []
    listener.connection.channels[1].on_suspect = aside.append
    return listener, aside


@both_kinds
@pytest.mark.parametrize("size", [1, 1000])
@pytest.mark.expects_errors("it is set aside")
def test_a_suspect_is_set_aside_unread_and_forgotten(kind: type[transport.Connection], size: int) -> None:
    stream = delivery(1, 1, b"body", message_id="a") + delivery(1, 2, b"next", message_id="b")
    listener, aside = suspicious(kind, *in_pieces(stream, range(0, len(stream), size)))

    assert listener.pump() == [("delivery", 1, 2, False, {"message_id": "b"}, b"next")]
    assert [(each.delivery_tag, each.properties, each.body, each.routing_key) for each in aside] == [
        (1, {}, b"body", "key")
    ]
    assert not listener.connection.suspicion


@both_kinds
def test_a_suspect_on_a_channel_that_closes_is_left_to_others(kind: type[transport.Connection]) -> None:
    listener, aside = suspicious(kind, delivery(1, 1, b"body", message_id="a"))
    listener.connection.channels[1].is_closing = True

    assert listener.pump() == []
    assert aside == []


@both_kinds
@pytest.mark.expects_errors("it is set aside")
def test_a_suspect_that_nobody_takes_is_dropped(kind: type[transport.Connection]) -> None:
    listener, _ = suspicious(kind, delivery(1, 1, b"body", message_id="a"))
    listener.connection.channels[1].on_suspect = None
    listener.connection.channels[1].reject = lambda *what, requeue: listener.events.append((*what, requeue))  # type: ignore[method-assign]

    assert listener.pump() == [(1, False)]


@both_kinds
@pytest.mark.parametrize("size", [30, 1000])
@pytest.mark.parametrize("suspected", [False, True])
def test_the_message_at_which_a_connection_breaks_is_in_hand(
    kind: type[transport.Connection], size: int, suspected: bool
) -> None:
    stream = delivery(1, 1, b"well", message_id="c") + delivery(1, 2, b"body", message_id="b")
    pieces = in_pieces(stream, range(0, len(stream), size))
    listener = suspicious(kind, *pieces)[0] if suspected else Listener(pieces, kind)

    def deliver(delivery: IncomingMessage) -> None:
        if delivery.delivery_tag == 2:
            raise OverflowError("boom")

    listener.connection.channels[1].consumers["tag"] = deliver
    assert listener.connection.in_hand is None

    with pytest.raises(OverflowError):
        listener.pump()

    assert listener.connection.in_hand == frames_of(delivery(1, 2, b"body", message_id="b"))[1][7:-1]


@both_kinds
def test_what_was_handled_is_not_suspected_any_more(kind: type[transport.Connection]) -> None:
    listener = Listener([delivery(1, 1, b"body", message_id="a")], kind)
    listener.connection.suspicion.blame(frames_of(delivery(1, 1, b"body", message_id="a"))[1][7:-1], 0.0)

    listener.pump()

    assert not listener.connection.suspicion


# What py-amqp reads in another way, or not at all.


def test_a_header_name_that_is_not_utf_8_is_text() -> None:
    table = b"\x02\xff\xfeV" + b"\x02inF\x00\x00\x00\x04\x01\xfdt\x01"
    header = header_frame(0x2000, len(table).to_bytes(4, "big") + table, 1)
    method = method_frame(1, 60, 60, dumps("sLbss", ("tag", 9, False, "", "")))

    events = Listener([method + header + FRAME_HEADER.pack(3, 1, 1) + b"x\xce"], stock.Connection).pump()

    assert events == [
        ("delivery", 1, 9, False, {"headers": {"\udcff\udcfe": None, "in": {"\udcfd": True}}}, b"x"),
    ]


def test_a_routing_key_that_is_not_utf_8_is_text() -> None:
    arguments = b"\x03tag" + (9).to_bytes(8, "big") + b"\x00" + b"\x00" + b"\x01\xff"
    keys: list[str] = []
    listener = Listener([method_frame(1, 60, 60, arguments) + header_frame(0, b"", 0)], stock.Connection)
    listener.connection.channels[1].consumers["tag"] = lambda delivery: keys.append(delivery.routing_key)

    listener.pump()

    assert keys == ["\udcff"]
