"""`RpcJsonSerializer`: JSON in UTF-8."""

from __future__ import annotations

from typing import Any

from amphora.serializers.abstract import AbstractRpcSerializer
from amphora.serializers.json_text import json_decoder, json_encoder
from amphora.serializers.plain_values import plain_value

__all__ = ["RpcJsonSerializer"]


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
        # Called for every message: where a subclass has no method of its own, without a call in between.
        if type(self).dumps is RpcJsonSerializer.dumps:
            vars(self)["dumps"] = self._encode
        if type(self).loads is RpcJsonSerializer.loads:
            vars(self)["loads"] = self._decode

    def default(self, value: Any) -> Any:
        """Return the plain value that stands for one which JSON does not know; override it to encode others.

        Args:
            value: What is neither text, a number, a ``bool``, None, a list, a tuple nor a ``dict``. With
                ``orjson`` also a subclass of one of those; `TypeError` leaves it to the standard library.

        Returns:
            A value that JSON knows, or that this method takes in turn.

        Raises:
            TypeError: The value cannot be encoded.
        """
        return plain_value(value)

    def dumps(self, value: Any) -> bytes:
        """Encode to JSON; see `AbstractRpcSerializer.dumps`."""
        return self._encode(value)

    def loads(self, body: bytes) -> Any:
        """Decode JSON in UTF-8, with or without a byte order mark."""
        return self._decode(body)
