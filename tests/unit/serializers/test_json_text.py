"""JSON by the fast packages and by the standard library: the same results."""

import dataclasses
import datetime
import enum
import json
import math
import sys
import tracemalloc
import uuid
from collections import OrderedDict
from decimal import Decimal
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from amphora.serializers import RpcJsonSerializer
from amphora.serializers.json_text import json_decoder, json_encoder, plain_decoder, plain_encoder


class Refused(Exception):
    """Stands for any error, so that two outcomes can be compared."""


class Colour(enum.Enum):
    RED = "red"
    NOTHING = None


class Level(enum.IntEnum):
    HIGH = 3


class Text(str):
    __slots__ = ()


class Number(int):
    pass


class Pair(NamedTuple):
    first: Any
    second: Any


@dataclasses.dataclass
class Point:
    x: Any


def default(value: Any) -> Any:
    if isinstance(value, Decimal):
        return f"decimal {value}"
    if isinstance(value, (set, datetime.datetime)):
        return ["default", str(value)]
    if isinstance(value, Point):
        return {"point": value.x}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, uuid.UUID):
        return str(value)
    raise TypeError(f"cannot encode {type(value).__name__}")


fast_encode, plain_encode = json_encoder(default), plain_encoder(default)
fast_decode, plain_decode = json_decoder(), plain_decoder()


def outcome(action: Any, value: Any) -> Any:
    try:
        return action(value)
    except (TypeError, ValueError, RecursionError):
        return Refused


def same(one: Any, other: Any) -> bool:
    """Compare with types, and with NaN equal to itself."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return (math.isnan(one) and math.isnan(other)) or (
            one == other and math.copysign(1, one) == math.copysign(1, other)
        )
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    return bool(one == other)


keys = (
    st.text(max_size=4)
    | st.integers()
    | st.floats()
    | st.booleans()
    | st.none()
    | st.sampled_from([Text("t"), Level.HIGH])
)
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.datetimes()
    | st.decimals()
    | st.uuids()
    | st.sampled_from(
        [Colour.RED, Colour.NOTHING, Level.HIGH, Text("null"), Number(7), Number(2**70), b"bytes", {1}, object()]
    )
)
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.builds(Pair, inner, inner)
        | st.builds(Point, inner)
        | st.dictionaries(keys, inner, max_size=4)
        | st.dictionaries(keys, inner, max_size=2).map(OrderedDict)
    ),
    max_leaves=12,
)


@given(values)
@example(math.nan)
@example([math.inf, -math.inf])
@example({"null": None})
@example("null")
@example(2**64)
@example("\ud800")
@example("é€😀\x00\x1f\x7f\u2028")
@example({1: 2, None: 3})
@example({1.5e16: 1})
@example({uuid.UUID(int=0): 1})
@example({Colour.RED: 1})
@example(-0.0)
def test_what_is_encoded_reads_the_same(value: Any) -> None:
    fast, plain = outcome(fast_encode, value), outcome(plain_encode, value)

    if fast is Refused or plain is Refused:
        assert fast is plain
    else:
        assert same(json.loads(fast), json.loads(plain))


@given(values)
def test_what_is_decoded_is_the_same(value: Any) -> None:
    body = outcome(plain_encode, value)
    if body is Refused:
        return

    assert same(fast_decode(body), json.loads(body))
    assert same(plain_decode(body), json.loads(body))


fragments = st.sampled_from(
    [
        *(b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\\u", b"\\ud83d", b"\\ude00", b"00e9"),
        *(b"null", b"true", b"false", b"NaN", b"Infinity", b"-Infinity"),
        *(b"0", b"-0", b"01", b"1.", b".5", b"+1", b"1e5", b"1E+400", b"-1e-400", b"12345678901234567890123", b"0.1"),
        *(b" ", b"\n", b"\t", b"\r", b"\x0b", b"\x00", b"\x1f", b"\xa0"),
        *(b"\xef\xbb\xbf", b"\xc3\xa9", b"\xff", b"\xed\xa0\x80"),
        *(b'"a"', b'"a":1', b'{"a":1,"a":2}', b"[1,]", b"// x", b"'x'"),
    ]
)


@given(st.lists(fragments, max_size=8).map(b"".join) | st.binary(max_size=20))
@example(b'{"a": 1, "a": 2}')
@example(b"18446744073709551616")
@example(b"-9223372036854775809")
@example(b"1e400")
@example(b'"\\ud800"')
@example(b'"\xed\xa0\x80"')
@example(b'"\x01"')
@example(b"\xef\xbb\xbf[]")
@example(b" 1 ")
@example(b"")
def test_any_bytes_are_read_or_refused_alike(body: bytes) -> None:
    fast, plain = outcome(fast_decode, body), outcome(plain_decode, body)

    assert same(fast, plain) or (fast is plain is Refused)


@pytest.mark.parametrize("depth", [100, 300, 900, 5_000, 100_000])
def test_deep_nesting_is_read_or_refused_alike(depth: int) -> None:
    body = b"[" * depth + b"]" * depth

    assert (outcome(fast_decode, body) is Refused) == (outcome(plain_decode, body) is Refused)


@pytest.mark.parametrize("digits", [4300, 4301, 100_000])
def test_integers_of_very_many_digits_are_read_or_refused_alike(digits: int) -> None:
    body = b"1" * digits

    assert outcome(fast_decode, body) == outcome(plain_decode, body)


@pytest.mark.parametrize("missing", ["orjson", "msgspec"])
def test_a_fast_package_that_is_not_installed_is_done_without(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    serializer = RpcJsonSerializer()

    body = serializer.dumps({"func": "add", "args": [1, 2.5, None, "é"], "kwargs": {}})

    assert serializer.loads(body) == {"func": "add", "args": [1, 2.5, None, "é"], "kwargs": {}}


def test_a_small_body_keeps_no_more_memory_than_it_needs() -> None:
    fast_encode(0)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()

    bodies = [fast_encode({"result": number}) for number in range(1000)]

    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (after - before) / len(bodies) < 200


def test_the_fast_packages_are_used_where_they_are_installed() -> None:
    # Each has a style of its own, by which it is known.
    assert fast_encode({"a": [1, "é"]}) == '{"a":[1,"é"]}'.encode()
    assert plain_encode({"a": [1, "é"]}) == b'{"a": [1, "\\u00e9"]}'
