"""Header tables over all field types: read or refused, never anything else, and written as they were read."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal, Inexact, getcontext, localcontext
from random import Random
from struct import error as struct_error
from typing import Any

import pytest
from amqp.serialization import dumps
from hypothesis import example, given
from hypothesis import strategies as st

from amphora.driver.tables import DEPTH, VALUES, TableError, Timestamp, encode_table, parse_table
from chaos.header_tables import EDGES, check, damaged, random_table

randoms = st.randoms(use_true_random=False)


def entry(name: bytes, value: bytes) -> bytes:
    return bytes((len(name),)) + name + value


def sized(content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + content


@given(rng=randoms)
def test_a_table_of_any_field_types_is_read_and_written_again(rng: Random) -> None:
    assert check(random_table(rng))


@given(rng=randoms)
def test_a_damaged_table_is_read_or_refused(rng: Random) -> None:
    check(damaged(rng, random_table(rng)))


@given(data=st.binary(max_size=200))
@example(b"\x01aT" + (2**62).to_bytes(8, "big"))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    check(data)


@pytest.mark.parametrize("seconds", [number for number in EDGES if number >= 0])
def test_a_timestamp_of_any_value_is_read_and_written_as_it_came(seconds: int) -> None:
    table = entry(b"at", b"T" + seconds.to_bytes(8, "big"))

    read = parse_table(table)["at"]

    assert not isinstance(read, int)
    assert isinstance(read, datetime) == (seconds <= 253402300799)
    assert isinstance(read, datetime) or read == Timestamp(seconds)
    assert encode_table({"at": read}) == sized(table)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"t\x02", True),
        (b"b\xff", -1),
        (b"B\xff", 255),
        (b"s\xff\xfe", -2),
        (b"u\xff\xfe", 65534),
        (b"I\xff\xff\xff\xff", -1),
        (b"i\xff\xff\xff\xff", 2**32 - 1),
        (b"l" + b"\xff" * 8, -1),
        (b"L" + b"\xff" * 8, -1),
        (b"f\x3f\xc0\x00\x00", 1.5),
        (b"d\x3f\xf8" + bytes(6), 1.5),
        (b"D\x02\x00\x00\x00\x6e", Decimal("1.10")),
        (b"D\xff\x80\x00\x00\x00", Decimal("-2147483648E-255")),
        (b"S" + sized(b"text"), "text"),
        (b"S" + sized(b"\xff"), b"\xff"),
        (b"x" + sized(b"text"), b"text"),
        (b"V", None),
        (b"T" + (0).to_bytes(8, "big"), datetime(1970, 1, 1)),
        (b"F" + sized(entry(b"a", b"V")), {"a": None}),
        (b"A" + sized(b"t\x01V" + b"A" + sized(b"")), [True, None, []]),
    ],
    ids=repr,
)
def test_each_field_type_is_read(value: bytes, expected: Any) -> None:
    read = parse_table(entry(b"name", value))["name"]

    assert read == expected
    assert type(read) is type(expected)


def test_a_name_that_is_not_utf_8_is_text_and_goes_back_as_it_came() -> None:
    table = entry(b"\xff\xfe", b"V") + entry(b"in", b"F" + sized(entry(b"\xfd", b"V")))

    assert parse_table(table) == {"\udcff\udcfe": None, "in": {"\udcfd": None}}
    assert encode_table(parse_table(table)) == sized(table)


def test_a_decimal_is_read_whatever_the_programs_decimal_context_is() -> None:
    with localcontext() as context:
        context.prec = 1
        context.traps[Inexact] = True
        assert getcontext().prec == 1
        assert parse_table(entry(b"a", b"D\x1d" + (2**31 - 1).to_bytes(4, "big")))["a"].as_tuple().exponent == -29


@pytest.mark.parametrize(
    "table",
    [
        b"\x01",
        b"\x05a",
        b"\x01a",
        b"\x01aI\x00",
        b"\x01aT\x00",
        b"\x01aS\x00\x00",
        b"\x01aS\xff\xff\xff\xff",
        b"\x01aZ",
        b"\x01at",
        b"\x01aD\x00\x00",
        b"\x01aF" + sized(b"\x01aI\x00\x00") + b"\x00\x00",
        b"\x01aA" + sized(b"I\x00\x00") + b"\x00\x00",
    ],
    ids=repr,
)
def test_a_malformed_table_is_refused(table: bytes) -> None:
    with pytest.raises(TableError):
        parse_table(table)


@pytest.mark.parametrize("kind", [b"F", b"A"])
def test_a_table_may_be_nested_only_so_deep(kind: bytes) -> None:
    def nested(depth: int) -> bytes:
        content = b""
        for _ in range(depth):
            content = kind + sized(content)
            content = entry(b"a", content) if kind == b"F" else content
        return content if kind == b"F" else entry(b"a", content)

    assert encode_table(parse_table(nested(DEPTH))) == sized(nested(DEPTH))
    for deeper in (nested(DEPTH + 1), nested(5000)):
        with pytest.raises(TableError, match="nested"):
            parse_table(deeper)


@pytest.mark.parametrize(
    "values",
    [
        b"V" * 100_000,
        (b"A" + sized(b"")) * 20_000,
        (b"D" + bytes(5)) * 20_000,
        (b"F" + sized(b"\x00V")) * 10_000,
    ],
    ids=["void", "arrays", "decimals", "tables"],
)
def test_a_table_of_very_many_values_is_refused_before_it_fills_the_memory(values: bytes) -> None:
    with pytest.raises(TableError, match=str(VALUES)):
        parse_table(entry(b"a", b"A" + sized(values)))


plain_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abcé", max_size=5), inner, max_size=3),
)


@given(table=st.dictionaries(st.text("abcé", max_size=5), plain_values | st.text() | st.binary(), max_size=5))
def test_a_table_is_written_as_py_amqp_writes_it(table: dict[str, Any]) -> None:
    assert encode_table(table) == dumps("F", [table])


def test_a_moment_with_a_time_zone_is_written_in_utc() -> None:
    noon = datetime(2024, 2, 29, 12, tzinfo=timezone(timedelta(hours=2)))

    assert encode_table({"at": noon}) == encode_table({"at": datetime(2024, 2, 29, 10, tzinfo=UTC)})


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        2**63,
        -(2**63) - 1,
        object(),
        {1, 2},
        {1: 2},
        {"a" * 256: 1},
        {"\ud800": 1},
        datetime(1969, 1, 1),
        Decimal("NaN"),
        Decimal("1E+999999"),
        Decimal("1E-300"),
        Decimal(2**31),
        Timestamp(2**64),
    ],
    ids=repr,
)
def test_what_a_table_cannot_hold_is_refused(value: Any) -> None:
    with pytest.raises((ValueError, struct_error, AttributeError, TypeError)):
        encode_table({"name": value})


def test_a_table_that_holds_itself_is_refused() -> None:
    table: dict[str, Any] = {}
    table["self"] = table

    with pytest.raises(ValueError, match="nested"):
        encode_table(table)
