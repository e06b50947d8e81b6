"""Header tables as no library writes them: random ones over all field types of AMQP, for the parser and for a broker.

``python -m chaos.header_tables 600000`` gives as many to the parser, a third of them damaged; ``--seed`` makes the same
ones again. Each has to be read or refused, and what was read has to be written and read again to the same values.
"""

import argparse
import sys
import time
from random import Random
from struct import pack

from amphora.driver.frames import encode_header, parse_header
from amphora.driver.tables import TableError, encode_table, parse_table

__all__ = ["EDGES", "damaged", "header_of", "random_table"]

#: Integers around which things go wrong, as 64 bits: ends of types, the last moment of a `datetime`, nanoseconds.
EDGES = (
    *(0, 1, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**53, 2**62, 2**63 - 1, 2**63),
    *(2**64 - 1, 253402300799, 253402300800, 1_700_000_000, 1_700_000_000_000_000_000, 67_767_976_233_532_799),
)

_SIZES = {
    **dict.fromkeys("bBt", 1),
    **dict.fromkeys("su", 2),
    **dict.fromkeys("Ii", 4),
    **dict.fromkeys("lLT", 8),
}
_KINDS = "bBtsuIilLTTTfdDDSSSxVFA"

_NAMES = (b"", b"a", b"x-amphora-deadline", b"x-death", b"\xff\xfe", b"n\x00\x1b[31m", b"\xed\xa0\x80", b"n" * 255)
_TEXTS = (b"", b"text", "schlüssel".encode(), b"\xff", b"\xed\xa0\x80", b"\x00\r\n", b"long" * 100)
_FLOATS = (0.0, -0.0, 1.5, -1e300, 5e-324)


def random_table(rng: Random, *, depth: int = 4, most: int = 6) -> bytes:
    """Return the entries of a table, without its size.

    Args:
        rng: Decides.
        depth: How deep it may be nested.
        most: How many entries a table or an array may have.
    """
    entries: list[bytes] = []
    for _ in range(rng.randint(0, most)):
        name = rng.choice(_NAMES) if rng.random() < 0.5 else rng.randbytes(rng.randint(0, 8))
        entries += (bytes((len(name),)), name, _value(rng, depth, most))
    return b"".join(entries)


def _value(rng: Random, depth: int, most: int) -> bytes:
    kind = rng.choice(_KINDS)
    if kind in "FA" and depth <= 0:
        kind = "V"
    return kind.encode() + _content(rng, kind, depth, most)


def _content(rng: Random, kind: str, depth: int, most: int) -> bytes:
    if kind in _SIZES:
        number = rng.choice(EDGES) if rng.random() < 0.7 else rng.getrandbits(64)
        return number.to_bytes(8, "big")[-_SIZES[kind] :]
    if kind == "f":
        return pack(">f", rng.uniform(-1000, 1000))
    if kind == "d":
        return pack(">d", rng.choice(_FLOATS))
    if kind == "D":
        return bytes((rng.choice((0, 1, 2, 28, 29, 255)),)) + rng.choice(EDGES).to_bytes(8, "big")[4:]
    if kind == "V":
        return b""
    if kind == "F":
        content = random_table(rng, depth=depth - 1, most=most)
    elif kind == "A":
        content = b"".join(_value(rng, depth - 1, most) for _ in range(rng.randint(0, most)))
    else:
        content = rng.choice(_TEXTS) if rng.random() < 0.5 else rng.randbytes(rng.randint(0, 40))
    return len(content).to_bytes(4, "big") + content


def damaged(rng: Random, table: bytes) -> bytes:
    """Return a table with some bytes changed, cut off or put in: no broker would deliver it."""
    data = bytearray(table)
    for _ in range(rng.randint(1, 3)):
        place = rng.randint(0, len(data))
        how = rng.randint(0, 2)
        if how == 0:
            data[place : place + 1] = rng.randbytes(1)
        elif how == 1:
            del data[place : place + rng.randint(1, 20)]
        else:
            data[place:place] = rng.randbytes(rng.randint(1, 20))
    return bytes(data)


def header_of(table: bytes, *, size: int = 0, message_id: str = "name", reply_to: str = "name") -> bytes:
    """Return the payload of a content header with a table and the usual properties of a request.

    Args:
        table: The entries of the table.
        size: Bytes of the body.
        message_id: Also the correlation id.
        reply_to: Left out if it is empty.
    """
    flags = 0x8000 | 0x2000 | 0x1000 | 0x0400 | 0x0080 | (0x0200 if reply_to else 0)
    listed = [_short("application/json"), len(table).to_bytes(4, "big"), table, b"\x02", _short(message_id)]
    if reply_to:
        listed.append(_short(reply_to))
    listed.append(_short(message_id))
    return pack(">HHQH", 60, 0, size, flags) + b"".join(listed)


def _short(text: str) -> bytes:
    return bytes((len(text),)) + text.encode()


def check(table: bytes) -> bool:
    """Read a table, alone and in a header, write what was read and read that; return whether it could be read."""
    payload = header_of(table, size=5)
    size, properties = parse_header(payload, 0, len(payload))
    _expect((size, properties["message_id"], properties["delivery_mode"]), (5, "name", 2))
    try:
        read = parse_table(table)
    except TableError:
        _expect(properties.get("headers"), None)
        return False
    _expect(properties["headers"], read)
    try:
        written = encode_table(read)
    except ValueError:
        # The bytes of a number that is none, which no broker delivers.
        _expect("nan" in repr(read) or "inf" in repr(read), True)
        return True
    _expect(len(encode_header(1, {"headers": read}, 0)), 22 + len(written))
    _expect(parse_table(written[4:]), _written(read))
    return True


def _expect(found: object, expected: object) -> None:
    # As text: a float that is no number is not equal to itself.
    if repr(found) != repr(expected):
        raise AssertionError(f"{found!r} instead of {expected!r}")


def _written(value: object) -> object:
    """Return a value as it is read when it has been written: bytes that are text come back as text."""
    if isinstance(value, dict):
        return {name: _written(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_written(each) for each in value]
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value
    return value


def main() -> None:
    """Give random tables to the parser."""
    parser = argparse.ArgumentParser(description="Give random header tables to the parser.")
    parser.add_argument("count", type=int, nargs="?", default=600_000)
    parser.add_argument("--seed", type=int, default=time.time_ns())
    options = parser.parse_args()
    rng = Random(options.seed)
    readable, began = 0, time.monotonic()
    for number in range(options.count):
        table = random_table(rng)
        if number % 3 == 0:
            table = damaged(rng, table)
        try:
            readable += check(table)
        except Exception:
            sys.stderr.write(f"seed {options.seed}, table {number}: {table.hex()}\n")
            raise
    seconds = time.monotonic() - began
    print(f"{options.count} tables in {seconds:.0f} s, {readable} of them readable; seed {options.seed}")


if __name__ == "__main__":
    main()
