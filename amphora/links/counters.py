"""`OpenCounter`: declares a queue whose messages are counted."""

from __future__ import annotations

from amqp.exceptions import ChannelError, PreconditionFailed

from amphora.driver.ports import ChannelPort
from amphora.links.declare_channel import DeclareAgain, is_not_found

__all__ = ["OpenCounter"]


class OpenCounter:
    """An action that declares a queue, bound with its own name, and returns how many messages it holds.

    It is a classic queue, whatever the default type of the virtual host or node: it lives for one request, and a
    declaration of a quorum queue costs each node of a cluster. One that exists with other properties is counted as
    it is: releases up to 1.0.0a1 declared no type, so theirs have the default one.

    Args:
        name: The queue.
        exchange: The exchange that it is bound to.
        x_expires: Milliseconds after which the broker deletes it, unless it is declared again.
    """

    def __init__(self, name: str, exchange: str, x_expires: int) -> None:
        self._name = name
        self._exchange = exchange
        self._arguments = {"x-queue-type": "classic", "x-expires": x_expires}
        self._exists = False

    def __call__(self, channel: ChannelPort) -> int:
        """Declare it.

        Raises:
            DeclareAgain: The queue exists with other properties; it will be counted without being declared.
            ChannelError: The exchange does not exist, or the user lacks a permission.
        """
        messages = self._declare(channel)
        channel.queue_bind(self._name, self._exchange, self._name)
        return messages

    def _declare(self, channel: ChannelPort) -> int:
        existing, self._exists = self._exists, False
        try:
            if existing:
                declared = channel.queue_declare(self._name, passive=True)
            else:
                declared = channel.queue_declare(self._name, durable=True, auto_delete=False, arguments=self._arguments)
        except PreconditionFailed as error:
            self._exists = True
            raise DeclareAgain from error
        except ChannelError as error:
            if existing and is_not_found(error):
                # Deleted meanwhile.
                raise DeclareAgain from error
            raise
        return int(declared.message_count)
