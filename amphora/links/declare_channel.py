"""`DeclareChannel`: the channel of a connection's owner for declarations; the broker closes it when it refuses one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from amqp.exceptions import ChannelError
from gevent.event import AsyncResult

from amphora.driver.ports import ChannelPort, ConnectionPort

__all__ = ["DeclareAgain", "DeclareChannel", "QueuedAction", "is_not_found"]

T = TypeVar("T")


class DeclareAgain(Exception):
    """The broker refused a declaration and closed the channel; the action is to be carried out on a new one."""


class QueuedAction:
    """Something to do on a channel for declarations.

    Args:
        action: Takes the channel; called in the owner's greenlet, again where the connection broke in the middle.

    Attributes:
        result: What it returned, or the error that it ended with.
    """

    __slots__ = ("action", "result")

    def __init__(self, action: Callable[[ChannelPort], Any]) -> None:
        self.action = action
        self.result: AsyncResult[Any] = AsyncResult()


class DeclareChannel:
    """A channel for synchronous methods; opened when first needed, and after each refusal.

    Args:
        connection: The connection; only its owner may call `run`.
    """

    def __init__(self, connection: ConnectionPort) -> None:
        self._connection = connection
        self._channel: ChannelPort | None = None

    def run(self, action: Callable[[ChannelPort], T]) -> T:
        """Return what the action returns when called with the channel.

        Raises:
            ChannelError: The broker refused, and closed the channel.
        """
        while True:
            channel = self._channel
            if channel is None or channel.connection is None:
                # (None of its own: an action may catch the refusal that closed it.)
                channel = self._channel = self._connection.channel()
                channel.on_closed = self._on_closed
            try:
                return action(channel)
            except DeclareAgain:
                continue
            except ChannelError:
                # The memory transport raises as well, but leaves its channel open.
                if self._channel is not None and self._channel.connection is None:
                    self._channel = None
                raise

    def give_up(self) -> None:
        """Give up the channel, on which the broker does not answer."""
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.abandon()

    def _on_closed(self, error: ChannelError) -> None:
        self._channel = None


def is_not_found(error: ChannelError) -> bool:
    """Return whether an error says that there is no such queue or exchange."""
    return str(error.reply_code) == "404"
