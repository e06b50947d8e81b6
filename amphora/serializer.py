"""Serializers: plain Python values to message bodies and back.

To write your own, subclass `AbstractRpcSerializer`, give it a ``content_type`` and the two methods,
and pass the class (or an instance) as ``serializer=`` to both server and client::

    class CborSerializer(AbstractRpcSerializer):
        content_type = "application/cbor"

        def dumps(self, value):
            return cbor2.dumps(value)

        def loads(self, body):
            return cbor2.loads(body)

A serializer sees one value for a message: a ``dict`` with the members that DESIGN calls the wire
format (``func``, ``args`` and ``kwargs``; or ``result``; or ``exception``). It must be able to
encode ``dict`` with string keys, ``list``, ``str``, numbers, ``bool`` and ``None``; whatever else it
takes is its own affair. It must not run code from the bytes that it reads, as ``pickle`` would.
"""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import uuid
from abc import ABC, abstractmethod
from typing import Any, ClassVar

from amphora.json_text import json_decoder, json_encoder

__all__ = ["AbstractRpcSerializer", "RpcJsonSerializer", "RpcMsgpackSerializer", "SerializerOption", "make_serializer"]


class AbstractRpcSerializer(ABC):
    """Turns plain values into message bodies and back.

    Attributes:
        content_type: MIME type that travels with each message; a reader picks its serializer by it.
    """

    content_type: ClassVar[str]

    @abstractmethod
    def dumps(self, value: Any) -> bytes:
        """Encode a value.

        Args:
            value: A ``dict`` as the wire format has it, holding the user's values.

        Returns:
            The message body.

        Raises:
            TypeError: The value holds something that cannot be encoded. (Any other exception is
                reported to the caller as a ``TypeError`` as well.)
        """

    @abstractmethod
    def loads(self, body: bytes) -> Any:
        """Decode a message body.

        Args:
            body: Bytes from anywhere, possibly not written by this serializer.

        Returns:
            The value.

        Raises:
            Exception: Any exception means "cannot be read"; it is answered as `WrongRequest` or
                raised as `WrongResult`.
        """


class RpcJsonSerializer(AbstractRpcSerializer):
    """JSON in UTF-8; the default, and what Amphora 0.1 speaks.

    Encoded beyond what JSON knows: ``datetime``, ``date`` and ``time`` as ISO 8601 text,
    ``timedelta`` as seconds, ``Decimal`` and ``UUID`` as text, sets as lists, dataclasses as
    objects, enums as their values. They arrive as text, numbers, lists and objects. Tuples arrive
    as lists. ``NaN`` and the infinities travel as the bare words that Python's `json` reads.

    Encoded and decoded by the packages ``orjson`` and ``msgspec`` where they are installed (the extra
    ``amphora[speed]``), with the same results, in a fraction of the time.
    """

    content_type = "application/json"

    def __init__(self) -> None:
        self._encode = json_encoder(self.default)
        self._decode = json_decoder()

    def default(self, value: Any) -> Any:
        """Give the plain value that stands for one which JSON does not know; override it to encode others.

        Args:
            value: What is neither text, a number, a ``bool``, None, a list, a tuple nor a ``dict``. With
                ``orjson`` also a subclass of one of those; `TypeError` leaves it to the standard library.

        Returns:
            A value that JSON knows, or that this method takes in turn.

        Raises:
            TypeError: The value cannot be encoded.
        """
        return _json_default(value)

    def dumps(self, value: Any) -> bytes:
        """Encode to JSON; see `AbstractRpcSerializer.dumps`."""
        return self._encode(value)

    def loads(self, body: bytes) -> Any:
        """Decode JSON in UTF-8, with or without a byte order mark."""
        return self._decode(body)


class RpcMsgpackSerializer(AbstractRpcSerializer):
    """MessagePack, smaller and able to carry ``bytes``; needs the extra ``amphora[msgpack]``.

    Takes what `RpcJsonSerializer` takes, in the same shapes, and ``bytes``. Keys of a ``dict`` must be text or
    ``bytes``: others are a `TypeError` for the sender, and the receiver refuses them. Source of the format:
    https://msgpack.org.

    Raises:
        ImportError: The package ``msgpack`` is not installed.
    """

    content_type = "application/msgpack"

    def __init__(self) -> None:
        try:
            import msgpack  # noqa: PLC0415  (an extra, needed by this class alone)
        except ImportError as error:
            raise ImportError(
                "RpcMsgpackSerializer needs the package msgpack: pip install 'amphora[msgpack]'"
            ) from error
        self._packb = msgpack.packb
        self._unpackb = msgpack.unpackb

    def dumps(self, value: Any) -> bytes:
        """Encode to MessagePack; see `AbstractRpcSerializer.dumps`."""
        packed: bytes = self._packb(value, default=_json_default, use_bin_type=True)
        try:
            # Read as the other side will, and in C: a walk through the value takes three times as long. The hooks
            # replace each map and list at once, so that this takes no memory.
            self._unpackb(packed, raw=True, strict_map_key=True, object_hook=bool, list_hook=bool)
        except ValueError as error:
            raise TypeError(f"keys of a dict must be str or bytes in MessagePack: {error}") from None
        return packed

    def loads(self, body: bytes) -> Any:
        """Decode MessagePack, with keys of text or ``bytes``.

        The hashes of other keys can be predicted: a message with many that collide would keep the processor busy for
        seconds to minutes (https://github.com/msgpack/msgpack-python, ``strict_map_key``).
        """
        return self._unpackb(body, raw=False, strict_map_key=True)


def _json_default(value: Any) -> Any:
    """Give the plain value that stands for a value which the encoder does not know."""
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, (decimal.Decimal, uuid.UUID)):
        return str(value)
    if isinstance(value, (set, frozenset)):
        return list(value)
    if isinstance(value, enum.Enum):
        return value.value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    raise TypeError(f"cannot encode {type(value).__name__} {_shortened(value)}")


def _shortened(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001
        # A user's broken __repr__ must not hide what could not be encoded.
        return "(which has no readable repr)"
    return text if len(text) <= 80 else text[:77] + "..."


#: What ``serializer=`` takes.
SerializerOption = AbstractRpcSerializer | type[AbstractRpcSerializer]


def make_serializer(serializer: SerializerOption) -> AbstractRpcSerializer:
    """Return the serializer, made first if its class was given.

    Raises:
        TypeError: It is no serializer, or has no content type.
    """
    made = serializer() if isinstance(serializer, type) else serializer
    if not isinstance(made, AbstractRpcSerializer):
        raise TypeError(f"a serializer is a subclass of AbstractRpcSerializer, not {serializer!r}")
    if not isinstance(getattr(made, "content_type", None), str):
        raise TypeError(f"{type(made).__name__} needs a content_type")
    return made
