"""Frames into deliveries, confirms and returns, however the network has cut them."""

from collections import deque
from collections.abc import Iterable
from itertools import pairwise
from struct import pack
from typing import Any

import pytest
from amqp.exceptions import UnexpectedFrame
from amqp.method_framing import frame_handler
from amqp.serialization import dumps
from hypothesis import given
from hypothesis import strategies as st

from amphora.driver.channel import Channel
from amphora.driver.frames import (
    FRAME_HEADER,
    HEARTBEAT,
    METHOD,
    encode_ack,
    encode_body,
    encode_give_back,
    encode_header,
)
from amphora.driver.incoming_message import IncomingMessage
from amphora.driver.transport import Connection

#: Small, so that bodies come in several frames.
FRAME_MAX = 64

Event = tuple[Any, ...]


class AllRead(Exception):
    """Nothing more will arrive."""


class FakeSocket:
    """Gives the pieces that it was given, one for each `receive`; keeps what is written."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self.pieces = deque(pieces)
        self.written: list[bytes] = []

    def wait(self) -> None:
        if not self.pieces:
            raise AllRead

    def receive(self) -> bytes:
        return self.pieces.popleft()

    def write_frames(self, *pieces: bytes, at_once: bool = False) -> None:
        self.written.append(b"".join(pieces))

    def wake(self) -> None: ...


class Listener:
    """A connection with two channels that notes what is dispatched, in order."""

    def __init__(self, pieces: Iterable[bytes], kind: type[Connection] = Connection) -> None:
        self.events: list[Event] = []
        self.connection = kind("nowhere")
        self.socket = FakeSocket(pieces)
        self.connection.socket = self.socket  # type: ignore[assignment]
        self.connection.on_inbound_frame = frame_handler(self.connection, self.connection.on_inbound_method)
        for number in (1, 2):
            self.listen(kind.Channel(self.connection, number))

    def listen(self, channel: Channel) -> None:
        number = channel.channel_id

        def deliver(delivery: IncomingMessage) -> None:
            assert delivery.channel is channel
            assert (delivery.exchange, delivery.routing_key) in (("exchange", "key"), ("", ""))
            message = (delivery.delivery_tag, delivery.redelivered, delivery.properties, delivery.body)
            self.events.append(("delivery", number, *message))

        channel.consumers["tag"] = deliver
        channel.on_confirm = lambda *confirm: self.events.append(("confirm", number, *confirm))
        channel.on_return = lambda *returned: self.events.append(("return", number, *returned))

    def pump(self) -> list[Event]:
        """Pump until all is read, and return what was dispatched."""
        try:
            while True:
                self.connection.pump()
        except AllRead:
            return self.events

    def drain(self) -> list[Event]:
        """Wait for one method after the other, as a synchronous method does, until all is read."""
        try:
            while True:
                self.connection.drain_events()
        except AllRead:
            return self.events


# What a broker writes.


def encode_content(channel: int, properties: dict[str, Any], body: bytes, *, frame_max: int) -> bytes:
    header = encode_header(channel, properties, len(body))
    return header + b"".join(encode_body(channel, body, frame_max=frame_max))


def method_frame(channel: int, class_id: int, method_id: int, arguments: bytes) -> bytes:
    payload = pack(">HH", class_id, method_id) + arguments
    return FRAME_HEADER.pack(METHOD, channel, len(payload)) + payload + b"\xce"


def delivery(
    channel: int, tag: int, body: bytes, *, consumer: str = "tag", redelivered: bool = False, **properties: Any
) -> bytes:
    arguments = dumps("sLbss", (consumer, tag, redelivered, "exchange", "key"))
    content = encode_content(channel, properties, body, frame_max=FRAME_MAX)
    return method_frame(channel, 60, 60, arguments) + content


def returned(channel: int, message_id: str, body: bytes) -> bytes:
    arguments = dumps("Bsss", (312, "NO_ROUTE", "exchange", "key"))
    content = encode_content(channel, {"message_id": message_id}, body, frame_max=FRAME_MAX)
    return method_frame(channel, 60, 50, arguments) + content


def nack(channel: int, tag: int, *, multiple: bool) -> bytes:
    return method_frame(channel, 60, 120, dumps("Lb", (tag, multiple)))


def frames_of(data: bytes) -> list[bytes]:
    frames = []
    while data:
        size = 8 + int.from_bytes(data[3:7], "big")
        frames.append(data[:size])
        data = data[size:]
    return frames


def interleaved(one: bytes, other: bytes) -> bytes:
    """Mix the frames of two channels, as a broker does."""
    ones, others = frames_of(one), frames_of(other)
    mixed = [frame for pair in zip(ones, others, strict=False) for frame in pair]
    shorter = min(len(ones), len(others))
    return b"".join(mixed + ones[shorter:] + others[shorter:])


STREAM = b"".join(
    [
        delivery(1, 1, b"small", message_id="a"),
        delivery(1, 2, b""),
        HEARTBEAT,
        delivery(1, 3, bytes(range(150)), message_id="b", headers={"x": 1}, redelivered=True),
        encode_ack(2, 5, multiple=True),
        nack(2, 6, multiple=False),
        returned(2, "r", b"body"),
        returned(2, "s", bytes(100)),
        encode_ack(2, 7, multiple=False),
        interleaved(delivery(1, 4, b"x" * 100), delivery(2, 8, b"y" * 200) + encode_ack(2, 8, multiple=False)),
        interleaved(delivery(1, 5, b"x" * 150), returned(2, "t", b"z" * 100) + encode_ack(2, 9, multiple=False)),
        delivery(1, 6, b"last"),
    ]
)

EVENTS: list[Event] = [
    ("delivery", 1, 1, False, {"message_id": "a"}, b"small"),
    ("delivery", 1, 2, False, {}, b""),
    ("delivery", 1, 3, True, {"message_id": "b", "headers": {"x": 1}}, bytes(range(150))),
    ("confirm", 2, 5, True, True),
    ("confirm", 2, 6, False, False),
    ("return", 2, "312 NO_ROUTE", "exchange", "key", "r"),
    ("return", 2, "312 NO_ROUTE", "exchange", "key", "s"),
    ("confirm", 2, 7, False, True),
    ("delivery", 1, 4, False, {}, b"x" * 100),
    ("delivery", 2, 8, False, {}, b"y" * 200),
    ("confirm", 2, 8, False, True),
    ("delivery", 1, 5, False, {}, b"x" * 150),
    ("return", 2, "312 NO_ROUTE", "exchange", "key", "t"),
    ("confirm", 2, 9, False, True),
    ("delivery", 1, 6, False, {}, b"last"),
]


def in_pieces(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted(set(cuts) - {0, len(data)}), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def by_channel(events: list[Event]) -> dict[int, list[Event]]:
    """Order between channels means nothing: frames of two messages may mix."""
    return {number: [event for event in events if event[1] == number] for number in (1, 2)}


def test_everything_in_one_piece_is_dispatched() -> None:
    assert by_channel(Listener([STREAM]).pump()) == by_channel(EVENTS)


def test_a_cut_anywhere_changes_nothing() -> None:
    differing = [
        cut
        for cut in range(1, len(STREAM))
        if by_channel(Listener(in_pieces(STREAM, [cut])).pump()) != by_channel(EVENTS)
    ]

    assert differing == []


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 64, 100])
def test_pieces_of_any_size_change_nothing(size: int) -> None:
    pieces = in_pieces(STREAM, range(0, len(STREAM), size))

    assert by_channel(Listener(pieces).pump()) == by_channel(EVENTS)


@given(st.sets(st.integers(1, len(STREAM) - 1), max_size=30))
def test_any_cuts_change_nothing(cuts: set[int]) -> None:
    assert by_channel(Listener(in_pieces(STREAM, cuts)).pump()) == by_channel(EVENTS)


@given(st.sets(st.integers(1, len(STREAM) - 1), max_size=30))
def test_nothing_is_lost_while_a_synchronous_method_waits(cuts: set[int]) -> None:
    assert by_channel(Listener(in_pieces(STREAM, cuts)).drain()) == by_channel(EVENTS)


def test_receiving_nothing_is_no_end() -> None:
    pieces = [b"", STREAM[:10], b"", b"", STREAM[10:], b""]

    assert by_channel(Listener(pieces).pump()) == by_channel(EVENTS)


messages = st.lists(
    st.tuples(st.integers(1, 2), st.binary(max_size=200), st.text(st.characters(codec="utf-8"), max_size=20)),
    max_size=8,
)


@given(messages=messages, data=st.data())
def test_any_messages_in_any_pieces_are_delivered(messages: list[tuple[int, bytes, str]], data: st.DataObject) -> None:
    numbered = list(enumerate(messages, 1))
    stream = b"".join(delivery(channel, tag, body, message_id=name) for tag, (channel, body, name) in numbered)
    cuts = data.draw(st.sets(st.integers(0, len(stream)), max_size=20))

    events = Listener(in_pieces(stream, cuts)).pump()

    assert events == [
        ("delivery", channel, tag, False, {"message_id": name}, body) for tag, (channel, body, name) in numbered
    ]


def test_a_delivery_that_crossed_our_cancel_goes_back_to_its_queue() -> None:
    listener = Listener([delivery(1, 5, b"x", consumer="cancelled")])

    assert listener.pump() == []
    assert listener.socket.written == [encode_give_back(1, 5)]


def test_a_delivery_to_a_channel_that_is_closed_is_dropped() -> None:
    assert Listener([delivery(7, 5, b"x")]).pump() == []


@pytest.mark.parametrize("pieces", [1, 3])
def test_a_message_in_which_a_peer_left_out_its_sense_is_delivered(pieces: int) -> None:
    # Flags that announce every property, and not one of them there.
    header = b"\x00\x3c\x00\x00" + (1).to_bytes(8, "big") + b"\xff\xfc"
    stream = (
        method_frame(1, 60, 60, dumps("sLbss", ("tag", 9, False, "", "")))
        + FRAME_HEADER.pack(2, 1, len(header))
        + header
        + b"\xce"
        + FRAME_HEADER.pack(3, 1, 1)
        + b"x\xce"
    )

    events = Listener(in_pieces(stream, range(0, len(stream), -(-len(stream) // pieces)))).pump()

    assert events == [("delivery", 1, 9, False, {}, b"x")]


# What no broker writes.


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("cut", [False, True])
def test_a_frame_without_its_end_is_an_error(number: int, cut: bool) -> None:
    frames = frames_of(delivery(1, 1, b"x" * 100))
    frames[number] = frames[number][:-1] + b"\x00"
    pieces = frames if cut else [b"".join(frames)]

    with pytest.raises(UnexpectedFrame):
        Listener(pieces).pump()


def test_a_small_frame_without_its_end_is_an_error() -> None:
    stream = delivery(1, 1, b"small")

    with pytest.raises(UnexpectedFrame):
        Listener([stream[:-1] + b"\x00"]).pump()


@pytest.mark.parametrize("kind", [2, 3])
def test_content_without_a_method_is_an_error(kind: int) -> None:
    with pytest.raises(UnexpectedFrame):
        Listener([FRAME_HEADER.pack(kind, 1, 14) + bytes(14) + b"\xce"]).pump()


def test_a_body_before_its_header_is_an_error() -> None:
    method, _, *rest = frames_of(delivery(1, 1, b"x" * 100))

    with pytest.raises(UnexpectedFrame, match="in the middle of a message"):
        Listener([method, *rest]).pump()


# Publishing.


def test_publishing_queues_whole_frames_and_reads_nothing() -> None:
    listener = Listener([])
    listener.connection.frame_max = FRAME_MAX
    channel = listener.connection.channels[1]

    for body in (b"x", b"y" * 100):
        channel.publish("exchange", "key", {"message_id": "a"}, body, mandatory=True, at_once=False)

    method = method_frame(1, 60, 40, dumps("Bssbb", (0, "exchange", "key", True, False)))
    contents = [encode_content(1, {"message_id": "a"}, body, frame_max=FRAME_MAX) for body in (b"x", b"y" * 100)]
    assert listener.socket.written == [method + content for content in contents]


def test_routing_keys_without_number_do_not_fill_the_memory() -> None:
    channel = Listener([]).connection.channels[1]

    for number in range(5000):
        channel.publish("exchange", f"key {number}", {}, b"", mandatory=True, at_once=False)

    assert len(channel._method_frames) <= 1024
