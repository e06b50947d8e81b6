"""`RpcMsgpackSerializer`: MessagePack."""

from __future__ import annotations

from typing import Any

from amphora.serializers.abstract import AbstractRpcSerializer
from amphora.serializers.plain_values import plain_value

__all__ = ["RpcMsgpackSerializer"]


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
        packed: bytes = self._packb(value, default=plain_value, use_bin_type=True)
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
