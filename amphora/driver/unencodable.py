"""The error of a message that cannot be sent."""

from __future__ import annotations

__all__ = ["Unencodable", "too_large", "unencodable"]


class Unencodable(ValueError):
    """A message that cannot be sent on a connection: AMQP cannot express it, or its headers are too large.

    It is raised before anything is written. Only this message is affected.

    Attributes:
        size: Bytes of its header frame, if that is too large; None if AMQP cannot express the message.
        limit: Bytes that a frame may have on this connection (``frame_max``), if the header frame is larger.
    """

    def __init__(self, text: str, *, size: int | None = None, limit: int | None = None) -> None:
        super().__init__(text)
        self.size = size
        self.limit = limit


def unencodable(error: Exception) -> Unencodable:
    """Return the error of a message that AMQP cannot express, from what an encoder raised."""
    if isinstance(error, Unencodable):
        return error
    return Unencodable(f"the message cannot be encoded: {type(error).__name__}: {error}")


def too_large(size: int, limit: int) -> Unencodable:
    """Return the error of a message whose header frame is too large."""
    text = f"the headers of the message are too large: {size} bytes in a frame, of which the broker accepts {limit}"
    return Unencodable(text, size=size, limit=limit)
