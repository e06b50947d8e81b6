"""Header tables, read and written directly: any bytes can be read, and what was read can be written.

Peers put anything into the headers of a message. No content of a table may raise anything but `TableError`, and a table
must not become many times larger in memory than it is on the wire. Source: RabbitMQ's field types
(https://www.rabbitmq.com/amqp-0-9-1-errata#section_3), and py-amqp's encoding of Python's types.

What Python cannot express is kept so that it goes back as it came: names that are not UTF-8 with ``surrogateescape``,
text that is not UTF-8 as bytes, and timestamps later than the year 9999 as `Timestamp`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from math import isfinite
from struct import Struct, pack
from struct import error as struct_error
from typing import Any

__all__ = ["DEPTH", "VALUES", "TableError", "Timestamp", "encode_table", "parse_table"]

#: How deep tables and arrays may be nested.
DEPTH = 32

#: How many values a table may have, those of nested tables included. A value of a few bytes takes 200 in memory.
VALUES = 8192

_EPOCH = datetime(1970, 1, 1)

#: The last second that a `datetime` can express.
_LAST = (datetime.max - _EPOCH) // timedelta(seconds=1)

#: Field types of a fixed size: how they are unpacked, and their bytes.
_FIXED = {
    ord(kind): (Struct(form).unpack_from, Struct(form).size)
    for kind, form in {
        "b": ">b",
        "B": ">B",
        "s": ">h",
        "U": ">h",
        "u": ">H",
        "I": ">i",
        "i": ">I",
        "L": ">q",
        "l": ">q",
        "f": ">f",
        "d": ">d",
    }.items()
}
_TEXT, _BYTES, _BOOL, _VOID, _TIME, _DECIMAL, _TABLE, _ARRAY = b"SxtVTDFA"

_SIZE = Struct(">I")
_INT, _LONG, _DOUBLE, _MOMENT, _SCALED = Struct(">ci"), Struct(">cq"), Struct(">cd"), Struct(">cQ"), Struct(">cBi")


class TableError(ValueError):
    """A header table that cannot be read."""


@dataclass(frozen=True, slots=True)
class Timestamp:
    """A timestamp that is too late for a `datetime`; written as a timestamp again.

    It is not an integer: ``value in range(...)`` counts up to a value of a subclass of `int`, one by one.

    Attributes:
        seconds: Seconds since 1970.
    """

    seconds: int


# -- reading --------------------------------------------------------------------------------


def parse_table(data: bytes) -> dict[str, Any]:
    """Parse the entries of a table.

    Args:
        data: The table without its size.

    Raises:
        TableError: It is malformed, or larger than `DEPTH` and `VALUES` allow.
    """
    try:
        flat = _flat_table(data) if len(data) <= VALUES else None
        return _Reader(data).table(0, len(data), 0) if flat is None else flat
    except (IndexError, struct_error) as error:
        raise TableError("the table ends in the middle of a value") from error


def _flat_table(data: bytes) -> dict[str, Any] | None:
    """Parse a table of text and numbers, as almost all are; return None for one that has other values.

    Raises:
        TableError, IndexError, struct.error: It is malformed.
    """
    table: dict[str, Any] = {}
    position, end = 0, len(data)
    while position < end:
        start = position + 1
        position = start + data[position]
        name = _name(data[start:position])
        kind = data[position]
        if kind == _TEXT:
            start = position + 5
            position = start + int.from_bytes(data[position + 1 : start], "big")
            if position > end:
                raise TableError("a value reaches beyond its table")
            table[name] = _text(data[start:position])
        elif kind in _FIXED:
            unpack_from, size = _FIXED[kind]
            table[name] = unpack_from(data, position + 1)[0]
            position += 1 + size
        else:
            return None
    return table


class _Reader:
    __slots__ = ("_data", "_left")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._left = VALUES

    def table(self, position: int, end: int, depth: int) -> dict[str, Any]:
        data = self._data
        table: dict[str, Any] = {}
        while position < end:
            start = position + 1
            position = start + data[position]
            name = _name(data[start:position])
            table[name], position = self._value(position, depth)
        if position != end:
            raise TableError("a value reaches beyond its table")
        return table

    def _array(self, position: int, end: int, depth: int) -> list[Any]:
        array = []
        while position < end:
            value, position = self._value(position, depth)
            array.append(value)
        if position != end:
            raise TableError("a value reaches beyond its array")
        return array

    def _value(self, position: int, depth: int) -> tuple[Any, int]:
        """Parse the value that begins at a position; return it and where it ends."""
        self._left -= 1
        if self._left < 0:
            raise TableError(f"more than {VALUES} values")
        data = self._data
        kind = data[position]
        position += 1
        fixed = _FIXED.get(kind)
        if fixed is not None:
            unpack_from, size = fixed
            return unpack_from(data, position)[0], position + size
        if kind == _BOOL:
            return bool(data[position]), position + 1
        if kind == _VOID:
            return None, position
        if kind == _TIME:
            return _moment(int.from_bytes(data[position : position + 8], "big")), position + 8
        if kind == _DECIMAL:
            scale, number = _SCALED.unpack_from(data, position - 1)[1:]
            return Decimal((number < 0, tuple(map(int, str(abs(number)))), -scale)), position + 5
        (size,) = _SIZE.unpack_from(data, position)
        position += 4
        end = position + size
        if end > len(data):
            raise TableError("a value reaches beyond its table")
        if kind == _TEXT:
            return _text(data[position:end]), end
        if kind == _BYTES:
            return data[position:end], end
        if depth == DEPTH:
            raise TableError(f"nested more than {DEPTH} times")
        if kind == _TABLE:
            return self.table(position, end, depth + 1), end
        if kind == _ARRAY:
            return self._array(position, end, depth + 1), end
        raise TableError(f"no field type {kind:#04x} is known")


@lru_cache(1024)
def _name(raw: bytes) -> str:
    """Decode the name of a header, which many messages share."""
    return raw.decode("utf-8", "surrogateescape")


def _text(raw: bytes) -> str | bytes:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def _moment(seconds: int) -> datetime | Timestamp:
    return _EPOCH + timedelta(seconds=seconds) if seconds <= _LAST else Timestamp(seconds)


# -- writing --------------------------------------------------------------------------------


def encode_table(table: Mapping[Any, Any]) -> bytes:
    """Encode a table, with its size before it.

    Raises:
        ValueError: A value is of a type that AMQP does not have, or out of its range, or nested too deep.
        struct.error: A number is out of range.
    """
    pieces: list[bytes] = []
    _put_table(table, pieces.append, 0)
    return b"".join(pieces)


def _put_table(table: Mapping[Any, Any], put: Any, depth: int) -> None:
    pieces: list[bytes] = []
    for name, value in table.items():
        encoded = name.encode("utf-8", "surrogateescape") if isinstance(name, str) else name
        pieces += (bytes((len(encoded),)), encoded)
        _put_value(value, pieces.append, depth)
    _put_sized(pieces, put)


def _put_array(array: Sequence[Any], put: Any, depth: int) -> None:
    pieces: list[bytes] = []
    for value in array:
        _put_value(value, pieces.append, depth)
    _put_sized(pieces, put)


def _put_sized(pieces: list[bytes], put: Any) -> None:
    content = b"".join(pieces)
    put(_SIZE.pack(len(content)))
    put(content)


def _put_value(value: Any, put: Any, depth: int) -> None:
    if isinstance(value, str | bytes):
        encoded = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
        put(pack(">cI", b"S", len(encoded)))
        put(encoded)
    elif isinstance(value, bool):
        put(b"t\x01" if value else b"t\x00")
    elif isinstance(value, int):
        put(_LONG.pack(b"L", value) if value > 2147483647 or value < -2147483647 else _INT.pack(b"I", value))
    elif value is None:
        put(b"V")
    else:
        _put_rarer(value, put, depth)


def _put_rarer(value: Any, put: Any, depth: int) -> None:
    if isinstance(value, float):
        if not isfinite(value):
            # RabbitMQ cannot read it, and ends the connection.
            raise ValueError(f"a header cannot be {value}")
        put(_DOUBLE.pack(b"d", value))
    elif isinstance(value, Timestamp):
        put(_MOMENT.pack(b"T", value.seconds))
    elif isinstance(value, datetime):
        put(_MOMENT.pack(b"T", _seconds(value)))
    elif isinstance(value, Decimal):
        put(_SCALED.pack(b"D", *_scaled(value)))
    elif isinstance(value, dict | list | tuple):
        if depth == DEPTH:
            raise ValueError(f"a header is nested more than {DEPTH} times")
        if isinstance(value, dict):
            put(b"F")
            _put_table(value, put, depth + 1)
        else:
            put(b"A")
            _put_array(value, put, depth + 1)
    else:
        raise ValueError(f"a header cannot be of type {type(value).__name__}")


def _seconds(moment: datetime) -> int:
    """Return the seconds since 1970; without a time zone, it is UTC."""
    if moment.utcoffset() is not None:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    return (moment - _EPOCH) // timedelta(seconds=1)


def _scaled(number: Decimal) -> tuple[int, int]:
    """Return how many digits are behind the decimal point, and all digits as one integer."""
    sign, digits, exponent = number.as_tuple()
    if not isinstance(exponent, int):
        raise ValueError(f"a header cannot be {number}")
    if exponent > 10:
        raise ValueError(f"a header cannot be as large as {number}")
    whole = int("".join(map(str, digits)) or "0") * 10 ** max(0, exponent)
    return max(0, -exponent), -whole if sign else whole
