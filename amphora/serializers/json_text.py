"""JSON to and from bytes: by `orjson` and `msgspec` where they are installed, else by the standard library.

The results are the same. What the fast ones refuse, or would do in another way, is left to the standard
library:

* ``orjson`` writes NaN and the infinities as ``null``: text with a ``null`` in it is written again.
* ``orjson`` knows dates, dataclasses and subclasses of its own; they are passed on to ``default``. It
  refuses integers beyond 64 bits, keys that are not text, and lone surrogates.
* ``msgspec`` refuses ``NaN``, ``Infinity``, lone surrogates and numbers beyond a float's range.

`orjson` is not used for reading: it rounds integers beyond 64 bits without a word.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

__all__ = ["json_decoder", "json_encoder", "plain_decoder", "plain_encoder"]

Default = Callable[[Any], Any]
Encode = Callable[[Any], bytes]
Decode = Callable[[bytes], Any]

#: Smaller bodies are copied: orjson's bytes keep a buffer of 4 KiB, which a server that remembers ten thousand
#: replies would feel.
_COPIED = 64 * 1024

_find_null = re.compile(b"null").search


def json_encoder(default: Default) -> Encode:
    """Give a function that encodes a value as JSON.

    Args:
        default: Gives the plain value that stands for one which JSON does not know, or raises `TypeError`.

    Returns:
        The function; it raises `TypeError`, `ValueError` or `RecursionError` where a value cannot be encoded.
    """
    plain = plain_encoder(default)
    try:
        import orjson  # noqa: PLC0415  (an extra)
    except ImportError:
        return plain
    dumps, refused = orjson.dumps, orjson.JSONEncodeError
    options = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_SUBCLASS

    def encode(value: Any) -> bytes:
        try:
            body: bytes = dumps(value, default, options)
        except refused:
            return plain(value)
        if _find_null(body):
            return plain(value)
        return bytes(memoryview(body)) if len(body) < _COPIED else body

    return encode


def json_decoder() -> Decode:
    """Give a function that decodes JSON.

    Returns:
        The function; it raises `ValueError` or `RecursionError` where the bytes cannot be decoded.
    """
    plain = plain_decoder()
    try:
        import msgspec  # noqa: PLC0415  (an extra)
    except ImportError:
        return plain
    loads, refused = msgspec.json.Decoder().decode, (msgspec.MsgspecError, ValueError, RecursionError)

    def decode(body: bytes) -> Any:
        try:
            return loads(body)
        except refused:
            return plain(body)

    return decode


def plain_encoder(default: Default) -> Encode:
    """Give an encoder of the standard library; the text is escaped to ASCII. See `json_encoder`."""
    encode_text = json.JSONEncoder(default=default).encode

    def encode(value: Any) -> bytes:
        return encode_text(value).encode("ascii")

    return encode


def plain_decoder() -> Decode:
    """Give a decoder of the standard library, for UTF-8 with or without a byte order mark. See `json_decoder`."""
    decoder = json.JSONDecoder()
    decode_text, decode_start = decoder.decode, decoder.raw_decode

    def decode(body: bytes) -> Any:
        text = body.decode("utf-8")
        try:
            value, end = decode_start(text)
        except ValueError:
            # White space in front, a byte order mark, or no JSON.
            return decode_text(text.removeprefix("\ufeff"))
        return value if end == len(text) else decode_text(text)

    return decode
