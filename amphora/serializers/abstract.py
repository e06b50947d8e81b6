"""`AbstractRpcSerializer`: plain Python values to message bodies and back.

To write your own, subclass `AbstractRpcSerializer`, give it a ``content_type`` and the two methods,
and pass the class (or an instance) as ``serializer=`` to both server and client::

    class CborSerializer(AbstractRpcSerializer):
        content_type = "application/cbor"

        def dumps(self, value):
            return cbor2.dumps(value)

        def loads(self, body):
            return cbor2.loads(body)

A serializer sees one value for a message: a ``dict`` with the members of a message (``func``,
``args`` and ``kwargs``; or ``result``; or ``exception``). It must be able to
encode ``dict`` with string keys, ``list``, ``str``, numbers, ``bool`` and ``None``; whatever else it
takes is its own affair. It must not run code from the bytes that it reads, as ``pickle`` would.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

__all__ = ["AbstractRpcSerializer", "SerializerOption", "make_serializer"]


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
