"""The transport with py-amqp's own encoders does what the direct one does."""

from struct import pack
from typing import Any

import pytest
from amqp.method_framing import frame_writer
from amqp.serialization import dumps
from hypothesis import given
from hypothesis import strategies as st

from amphora.links import stock, transport
from amphora.links.frames import FRAME_HEADER
from tests.unit.links.test_transport import EVENTS, STREAM, Listener, by_channel, delivery, in_pieces, method_frame


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


def test_acknowledgements_are_the_same_to_the_byte() -> None:
    direct, by_py_amqp = writing(transport.Connection), writing(stock.Connection)

    for listener in (direct, by_py_amqp):
        listener.connection.channels[1].ack(5, multiple=True)
        listener.connection.channels[1].reject(6, requeue=False)

    assert b"".join(by_py_amqp.socket.written) == b"".join(direct.socket.written)
