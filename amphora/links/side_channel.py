"""`SideChannel`: a channel for synchronous methods that the owner of the connection does not wait for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from amqp.exceptions import ChannelError
from gevent.lock import Semaphore

from amphora.driver.channel import Silence
from amphora.driver.ports import ChannelPort, ConnectionPort
from amphora.links.declare_channel import DeclareAgain

__all__ = ["SideChannel"]

T = TypeVar("T")


class SideChannel:
    """A channel for synchronous methods, one action at a time; for greenlets that do not own the connection.

    It is opened when first needed, after each refusal, and after an action that the broker did not answer in time:
    what hangs costs this channel and nothing else.

    Args:
        connection: The connection; its owner goes on pumping it.
        on_abandoned: Called with each channel that is given up.
    """

    def __init__(self, connection: ConnectionPort, on_abandoned: Callable[[ChannelPort], None]) -> None:
        self._connection = connection
        self._on_abandoned = on_abandoned
        self._channel: ChannelPort | None = None
        self._turn = Semaphore(1)

    def run(self, action: Callable[[ChannelPort], T]) -> T:
        """Return what the action returns when called with the channel.

        Raises:
            ChannelError: The broker refused, and closed the channel.
            Silence: The broker did not answer; the channel is given up.
        """
        with self._turn:
            while True:
                with suppress(DeclareAgain):
                    return self._run(action)

    def let_go(self) -> None:
        """Close the channel without waiting for the broker; it is not needed any more."""
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.abandon()

    def _run(self, action: Callable[[ChannelPort], T]) -> T:
        # (None of its own: an action may catch the refusal that closed it.)
        channel = self._channel
        if channel is None or channel.connection is None:
            channel = self._channel = self._connection.channel()
            channel.on_closed = self._on_closed
        try:
            return action(channel)
        except Silence:
            self._channel = None
            channel.abandon()
            self._on_abandoned(channel)
            raise

    def _on_closed(self, error: ChannelError) -> None:
        """The broker closed the channel; the one that waits for an answer on it gets the error."""
