"""The serializers: what goes in, and what comes out at the other end."""

import dataclasses
import datetime
import decimal
import enum
import math
import sys
import uuid
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from time import perf_counter
from typing import Any, ClassVar

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amphora.serializers import (
    AbstractRpcSerializer,
    RpcJsonSerializer,
    RpcMsgpackSerializer,
    make_serializer,
)


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Mark(enum.StrEnum):
    OK = "ok"


class Kind(enum.Flag):
    A = 1
    B = 2


@dataclasses.dataclass
class Point:
    x: int
    y: Any
    origin: ClassVar[str] = "not a field"


@dataclasses.dataclass(frozen=True, slots=True)
class Line:
    start: Point
    end: Point


MOMENT = datetime.datetime(2024, 2, 29, 23, 59, 58, 123456, tzinfo=datetime.UTC)
ID = uuid.UUID("12345678-1234-5678-1234-567812345678")

ENCODED_BEYOND_JSON = [
    pytest.param(MOMENT, "2024-02-29T23:59:58.123456+00:00", id="datetime"),
    pytest.param(datetime.datetime(2024, 1, 2, 3, 4, 5), "2024-01-02T03:04:05", id="naive datetime"),
    pytest.param(datetime.date(2024, 2, 29), "2024-02-29", id="date"),
    pytest.param(datetime.time(1, 2, 3, 4), "01:02:03.000004", id="time"),
    pytest.param(datetime.timedelta(days=1, seconds=1.5), 86401.5, id="timedelta"),
    pytest.param(decimal.Decimal("1.10"), "1.10", id="Decimal"),
    pytest.param(decimal.Decimal("NaN"), "NaN", id="Decimal NaN"),
    pytest.param(ID, str(ID), id="UUID"),
    pytest.param({7}, [7], id="set"),
    pytest.param(frozenset({"a"}), ["a"], id="frozenset"),
    pytest.param(set(), [], id="empty set"),
    pytest.param((1, (2,)), [1, [2]], id="tuple"),
    pytest.param(Colour.RED, "red", id="enum"),
    pytest.param(Level.HIGH, 3, id="int enum"),
    pytest.param(Mark.OK, "ok", id="str enum"),
    pytest.param(Kind.A | Kind.B, 3, id="flag"),
    pytest.param(Point(1, MOMENT.date()), {"x": 1, "y": "2024-02-29"}, id="dataclass"),
    pytest.param(
        Line(Point(0, 0), Point(1, {ID})), {"start": {"x": 0, "y": 0}, "end": {"x": 1, "y": [str(ID)]}}, id="nested"
    ),
    pytest.param([{"deep": ({decimal.Decimal(2)},)}], [{"deep": [["2"]]}], id="inside of containers"),
]


@pytest.fixture(params=[RpcJsonSerializer, RpcMsgpackSerializer])
def serializer(request: pytest.FixtureRequest) -> AbstractRpcSerializer:
    made: AbstractRpcSerializer = request.param()
    return made


@pytest.mark.parametrize(("value", "arrives_as"), ENCODED_BEYOND_JSON)
def test_values_beyond_json_arrive_in_their_documented_shape(
    serializer: AbstractRpcSerializer, value: Any, arrives_as: Any
) -> None:
    assert serializer.loads(serializer.dumps({"result": value})) == {"result": arrives_as}


@pytest.mark.parametrize("value", [object(), Point, print, iter([]), 1j, range(3), ValueError("x")])
def test_what_cannot_be_encoded_is_a_type_error_that_shows_it(serializer: AbstractRpcSerializer, value: Any) -> None:
    with pytest.raises(TypeError, match=f"cannot encode {type(value).__name__} "):
        serializer.dumps({"result": [value]})


def test_a_long_value_is_shown_shortened_in_the_error(serializer: AbstractRpcSerializer) -> None:
    class Long:
        def __repr__(self) -> str:
            return "x" * 1000

    with pytest.raises(TypeError, match=r"cannot encode Long x{77}\.\.\.$"):
        serializer.dumps(Long())


def test_a_broken_repr_does_not_hide_what_cannot_be_encoded(serializer: AbstractRpcSerializer) -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError("no repr today")

    with pytest.raises(TypeError, match="cannot encode Broken"):
        serializer.dumps(Broken())


def test_bytes_are_no_json() -> None:
    with pytest.raises(TypeError, match="cannot encode bytes"):
        RpcJsonSerializer().dumps({"result": b"\x00"})


@pytest.mark.parametrize("value", [b"", b"\x00\xff", bytearray(b"ab")])
def test_bytes_travel_by_messagepack(value: bytes) -> None:
    serializer = RpcMsgpackSerializer()

    assert serializer.loads(serializer.dumps({"result": value})) == {"result": bytes(value)}


def test_json_keys_that_are_no_text_arrive_as_text() -> None:
    serializer = RpcJsonSerializer()

    assert serializer.loads(serializer.dumps({5: None, None: 1, True: 2})) == {"5": None, "null": 1, "true": 2}


def test_messagepack_keys_are_text_or_bytes() -> None:
    serializer = RpcMsgpackSerializer()

    assert serializer.loads(serializer.dumps({b"1": None, "x": {"y": 2}})) == {b"1": None, "x": {"y": 2}}


@pytest.mark.parametrize("key", [1, None, 1.5, True, (1, "x")])
@pytest.mark.parametrize("place", [lambda map_: map_, lambda map_: {"x": [map_]}, lambda map_: [(0, {"y": map_})]])
def test_other_keys_are_refused_before_messagepack_is_sent(place: Callable[[Any], Any], key: Any) -> None:
    with pytest.raises(TypeError, match="keys of a dict must be str or bytes in MessagePack"):
        RpcMsgpackSerializer().dumps(place({key: 1}))


@pytest.mark.parametrize("key", [1, None, 1.5, [1, "x"], {}], ids=repr)
def test_other_keys_are_not_read_from_messagepack(key: Any) -> None:
    body = b"\x81\xa1k\x81" + msgpack.packb(key) + b"\x01"

    with pytest.raises(ValueError, match="is not allowed for map key"):
        RpcMsgpackSerializer().loads(body)


def test_messagepack_whose_keys_collide_is_refused_at_once() -> None:
    # Numbers of one hash: a dict of them, or of lists of them made tuples, takes time by the square of their number.
    colliding = [[number, 2**61 - 1 - number] for number in range(1000)]
    body = msgpack.Packer().pack_map_pairs([(key, 1) for key in colliding * 50])

    began = perf_counter()
    with pytest.raises(ValueError, match="is not allowed for map key"):
        RpcMsgpackSerializer().loads(body)

    assert perf_counter() - began < 1


def test_a_tuple_as_a_key_is_no_json() -> None:
    with pytest.raises(TypeError, match="keys must be"):
        RpcJsonSerializer().dumps({(1, 2): 3})


def test_json_of_the_standard_library_is_plain_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "orjson", None)

    assert RpcJsonSerializer().dumps({"result": "é€😀"}) == b'{"result": "\\u00e9\\u20ac\\ud83d\\ude00"}'


@pytest.mark.parametrize(
    "body", ['"é😀"'.encode(), b'\xef\xbb\xbf"\xc3\xa9\xf0\x9f\x98\x80"', b'"\\u00e9\\ud83d\\ude00"']
)
def test_json_is_read_in_utf_8_with_or_without_escapes_and_a_byte_order_mark(body: bytes) -> None:
    assert RpcJsonSerializer().loads(body) == "é😀"


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe1\x00", b"\x80", b"nul", b"1 2"])
def test_what_is_no_json_raises(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"Expecting|Extra data|can't decode"):
        RpcJsonSerializer().loads(body)


def test_infinite_numbers_travel_as_bare_words_in_json() -> None:
    serializer = RpcJsonSerializer()

    body = serializer.dumps([math.inf, -math.inf])

    assert body == b"[Infinity, -Infinity]"
    assert serializer.loads(body) == [math.inf, -math.inf]


def test_not_a_number_travels(serializer: AbstractRpcSerializer) -> None:
    assert math.isnan(serializer.loads(serializer.dumps(math.nan)))


@pytest.mark.parametrize("number", [2**63, -(2**64), 10**300])
def test_huge_ints_travel_by_json(number: int) -> None:
    serializer = RpcJsonSerializer()

    assert serializer.loads(serializer.dumps(number)) == number


def test_an_int_of_more_digits_than_python_prints_is_an_error_and_no_hang() -> None:
    with pytest.raises(ValueError, match="digits"):
        RpcJsonSerializer().dumps(10 ** (sys.get_int_max_str_digits() + 1))


def test_an_int_that_messagepack_cannot_hold_is_an_error() -> None:
    with pytest.raises(TypeError, match="cannot encode int 18446744073709551616"):
        RpcMsgpackSerializer().dumps(2**64)


def test_lone_surrogates_travel_by_json() -> None:
    serializer = RpcJsonSerializer()

    assert serializer.loads(serializer.dumps("\ud800x")) == "\ud800x"


def test_lone_surrogates_are_an_error_in_messagepack() -> None:
    with pytest.raises(UnicodeEncodeError):
        RpcMsgpackSerializer().dumps("\ud800x")


def test_a_value_that_holds_itself_is_an_error(serializer: AbstractRpcSerializer) -> None:
    value: list[Any] = []
    value.append(value)

    with pytest.raises((ValueError, RecursionError)):
        serializer.dumps(value)


@pytest.mark.parametrize(
    ("kind", "expected"), [(RpcJsonSerializer, "application/json"), (RpcMsgpackSerializer, "application/msgpack")]
)
def test_the_content_type_is_known_without_an_instance(kind: type[AbstractRpcSerializer], expected: str) -> None:
    assert kind.content_type == expected


def test_messagepack_that_is_not_installed_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "msgpack", None)

    with pytest.raises(ImportError, match=r"pip install 'amphora\[msgpack\]'"):
        RpcMsgpackSerializer()


def test_a_subclass_encodes_further_types_as_json() -> None:
    class FractionsToo(RpcJsonSerializer):
        def default(self, value: Any) -> Any:
            return [value.numerator, value.denominator] if isinstance(value, Fraction) else super().default(value)

    serializer = FractionsToo()

    assert serializer.dumps({"half": Fraction(1, 2), "price": Decimal("1.50")}) in (
        b'{"half":[1,2],"price":"1.50"}',
        b'{"half": [1, 2], "price": "1.50"}',
    )
    with pytest.raises(TypeError, match="cannot encode object"):
        serializer.dumps(object())


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text("abcé", max_size=4), inner, max_size=5),
    max_leaves=20,
)


@given(plain)
def test_plain_values_come_back_the_same_by_json(value: Any) -> None:
    serializer = RpcJsonSerializer()

    assert serializer.loads(serializer.dumps(value)) == value


@given(plain)
def test_plain_values_come_back_the_same_by_messagepack(value: Any) -> None:
    serializer = RpcMsgpackSerializer()

    assert serializer.loads(serializer.dumps(value)) == value


def test_a_serializer_can_be_given_as_a_class_or_as_an_instance() -> None:
    instance = RpcJsonSerializer()

    assert make_serializer(instance) is instance
    assert isinstance(make_serializer(RpcJsonSerializer), RpcJsonSerializer)


@pytest.mark.parametrize("wrong", ["json", dict, None, RpcJsonSerializer().dumps])
def test_what_is_no_serializer_is_refused(wrong: object) -> None:
    with pytest.raises(TypeError, match="a serializer is a subclass of AbstractRpcSerializer, not"):
        make_serializer(wrong)  # type: ignore[arg-type]


def test_a_serializer_without_a_content_type_is_refused() -> None:
    class Nameless(AbstractRpcSerializer):
        def dumps(self, value: object) -> bytes:
            return b""

        def loads(self, body: bytes) -> object:
            return None

    with pytest.raises(TypeError, match="Nameless needs a content_type"):
        make_serializer(Nameless)


def test_a_serializer_that_lacks_a_method_is_refused() -> None:
    class Half(AbstractRpcSerializer):
        content_type = "text/half"

        def dumps(self, value: object) -> bytes:
            return b""

    with pytest.raises(TypeError, match="loads"):
        make_serializer(Half)
