"""`SentCall`: what is recorded of a call that a test makes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from gevent.event import AsyncResult

from amphora.testing import call_in_words

__all__ = ["SentCall"]


@dataclass(frozen=True)
class SentCall:
    """A call that was sent.

    Args:
        alias: Alias of its service in ``AMPHORA``.
        function: Name of the remote function.
        args: Its arguments, as the caller gave them.
        kwargs: Its keyword arguments.
        routing_key: Empty for the service's own queue.
        result: What became of it; see `gevent.event.AsyncResult`.
    """

    alias: str
    function: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    routing_key: str = ""
    result: AsyncResult[Any] = field(default_factory=AsyncResult, repr=False, compare=False)

    def __str__(self) -> str:
        return f"{self.alias}: {call_in_words(self.function, self.args, self.kwargs)}"
