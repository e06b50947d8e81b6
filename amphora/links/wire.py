"""What the outbox of a publisher calls: encodes and writes on its channel, and tells owners of outcomes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, NoReturn

import gevent
from gevent import get_hub

from amphora.core.messages import ChannelCommand, Outcome, OutgoingMessage
from amphora.driver.ports import ChannelPort
from amphora.durations import Durations
from amphora.exceptions import (
    AmqpRpcException,
    MessageRejected,
    MessageTooLarge,
    NoResult,
    PublishNacked,
    RequestStage,
    Unroutable,
)
from amphora.interrupts import contained, from_signal, raise_in_main
from amphora.links.connection import Link
from amphora.logs.note_log import NoteLogger
from amphora.protocol.deadlines import expiration

__all__ = ["Wire"]

logger = NoteLogger(__name__)


class Wire:
    """The ports of an outbox; see `amphora.core.outbox_ports.Ports`.

    Args:
        link: The connection's.
        patience: Seconds for which a nacked message is sent again.

    Attributes:
        channel: The channel that messages are published on; None while there is none.
        confirm_times: How long the broker took to confirm what it has taken, each from its last sending on.
        patience: The same as the argument; may be set at any time.
    """

    def __init__(self, link: Link, patience: float) -> None:
        self.channel: ChannelPort | None = None
        #: See `Ports.write`: the channel's own method.
        self.write: Callable[..., None] = _no_channel
        self._encode: Callable[..., Sequence[bytes | memoryview]] = _no_channel
        self.confirm_times = Durations()
        self._link = link
        self.patience = patience

    def use(self, channel: ChannelPort | None) -> None:
        """Publish on this channel from now on; None for none."""
        self.channel = channel
        self.write = _no_channel if channel is None else channel.write
        self._encode = _no_channel if channel is None else channel.encode

    def encode(self, message: OutgoingMessage, remaining: float | None) -> Sequence[bytes | memoryview]:
        """Return the frames of a message, with the time that it has left."""
        if remaining is not None:
            left = expiration(remaining)
            if left is None:
                message.properties.pop("expiration", None)
            else:
                message.properties["expiration"] = left
        return self._encode(message.exchange, message.routing_key, message.properties, message.body, mandatory=True)

    def confirmed(self, message: OutgoingMessage, now: float) -> None:
        """Tell the owner of a message that the broker has it."""
        self.confirm_times.add(now - message.sent_at)
        try:
            message.done(message, None)
        except Exception as error_of_owner:  # noqa: BLE001  (whatever an owner raises)
            self._owner_failed(error_of_owner)

    def settled(self, message: OutgoingMessage, outcome: Outcome, detail: Any) -> None:
        """Tell the owner of a message of any other outcome."""
        self._tell(message, self._error_of(message, outcome, detail))

    def command_refused(self, command: ChannelCommand, error: Any) -> None:
        """Tell the owner of a command that it is not run (again)."""
        if command.result is not None:
            command.result.set_exception(error)

    def lane_refused(self, message: OutgoingMessage) -> None:
        """Warn that the broker refuses messages for now."""
        logger.warning(
            "%s: the broker refuses messages to exchange %r with routing key %r for now (a quorum queue without a "
            "leader, or a full queue); sending them again for %.0f s",
            self._link.name,
            message.exchange,
            message.routing_key,
            self.patience,
            once=("lane refused", self._link.name, message.exchange, message.routing_key),
        )

    def alarm(self, at: float) -> None:
        """Wake the owner at that time."""
        gevent.spawn_later(max(0.0, at - monotonic()), contained, self._on_alarm, at)

    def wake(self) -> None:
        """Wake the owner."""
        self._link.wake()

    def _on_alarm(self, at: float) -> None:
        # The loop's clock may be a little ahead of ours.
        while (remaining := at - monotonic()) > 0:
            gevent.sleep(remaining)
        self._link.wake()

    def _tell(self, message: OutgoingMessage, error: AmqpRpcException | None) -> None:
        try:
            message.done(message, error)
        except Exception as error_of_owner:  # noqa: BLE001  (whatever an owner raises)
            self._owner_failed(error_of_owner)

    def _owner_failed(self, error: Exception) -> None:
        interrupt = from_signal(error)
        if interrupt is not None:
            # When the others have their outcomes.
            get_hub().loop.run_callback(raise_in_main, interrupt)
            return
        # One owner's mistake must not cost the others their outcomes, nor the connection.
        logger.error("%s: error while a message was settled", self._link.name, exc_info=error)

    def _error_of(self, message: OutgoingMessage, outcome: Outcome, detail: Any) -> AmqpRpcException | None:
        if outcome is Outcome.CONFIRMED:
            return None
        if outcome is Outcome.UNROUTABLE:
            return Unroutable(_unroutable(message, detail), exchange=message.exchange, routing_key=message.routing_key)
        if outcome is Outcome.NACKED:
            return PublishNacked(self._nacked(message), exchange=message.exchange, routing_key=message.routing_key)
        if outcome is Outcome.EXPIRED:
            return NoResult(_expired(message), stage=_stage(message))
        if outcome is Outcome.WITHDRAWN:
            return NoResult(f"a message to exchange {message.exchange!r} was withdrawn", stage=_stage(message))
        if outcome is Outcome.TOO_LARGE:
            return MessageTooLarge(
                f"a message of {message.size} bytes is larger than the broker's limit of {detail} bytes "
                "(max_message_size)",
                size=message.size,
                limit=detail,
            )
        if isinstance(detail, AmqpRpcException):
            return detail
        error = MessageRejected(
            f"a message to exchange {message.exchange!r}, routing key {message.routing_key!r} cannot be encoded: "
            f"{type(detail).__name__}: {detail}"
        )
        error.__cause__ = detail
        return error

    def _nacked(self, message: OutgoingMessage) -> str:
        what = f"a message to exchange {message.exchange!r}, routing key {message.routing_key!r}"
        if not self.patience:
            return f"the broker refused (nacked) {what}: is a queue full?"
        return (
            f"the broker refused (nacked) {what}, for {self.patience:g} s: is a queue full, or are most nodes of a "
            "quorum queue down?"
        )


def _no_channel(*_: Any, **__: Any) -> NoReturn:
    raise AssertionError("an outbox without a channel has sent something")


def _stage(message: OutgoingMessage) -> RequestStage:
    return RequestStage.SENT if message.sent else RequestStage.NOT_SENT


def _unroutable(message: OutgoingMessage, text: str) -> str:
    return (
        f"no queue takes messages to exchange {message.exchange!r} with routing key "
        f"{message.routing_key!r} (the broker says: {text})"
    )


def _expired(message: OutgoingMessage) -> str:
    held = "sent, but not confirmed by the broker, and it is not sent again" if message.sent else "never sent"
    return f"the deadline of a message to exchange {message.exchange!r} has passed: it was {held}"
