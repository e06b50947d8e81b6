"""The outbox: messages on their way to the broker until it has confirmed them.

Publishing is pipelined: any number of messages may await their confirms. What is not confirmed when
the connection breaks is sent again on the next one, in the old order. Source: RabbitMQ's publisher
confirms, https://www.rabbitmq.com/docs/confirms.
"""

from __future__ import annotations

import logging
import re
from collections import deque
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Any

import amqp
import gevent
from amqp.exceptions import ChannelError
from gevent.event import AsyncResult

from amphora.durations import Durations, Histogram
from amphora.exceptions import (
    AmqpRpcException,
    BrokerError,
    MessageTooLarge,
    NoResult,
    PublishNacked,
    Unroutable,
)
from amphora.links.connection import Link
from amphora.links.control import Command, ControlChannel
from amphora.links.faults import explain
from amphora.links.outgoing import Outgoing
from amphora.links.refusals import Refusals
from amphora.links.room import Room
from amphora.links.topology import Topology, create_queue
from amphora.protocol.deadlines import expiration
from amphora.settings import LinkSettings, OutboxLimits

__all__ = ["Publisher"]

logger = logging.getLogger(__name__)

#: Seconds that unconfirmed messages have to be confirmed before their channel is given up for another.
_DRAIN = 1.0

#: RabbitMQ's default for the bytes of one frame.
_FRAME_MAX = 131_072


class Publisher:
    """Publishes messages, confirmed and in order, over a connection of its own.

    Args:
        name: What operators see.
        settings: How to connect.
        limits: How much the outbox holds.
        topology: Declared on each new connection before anything is published.
        on_fatal: See `Link`.
        patience: Seconds for which a message that the broker refuses (nacks) is sent again.
    """

    def __init__(
        self,
        name: str,
        settings: LinkSettings,
        limits: OutboxLimits,
        topology: Topology,
        *,
        on_fatal: Callable[[Any], None],
        patience: float = 0.0,
    ) -> None:
        self.link = Link(f"{name} publisher", settings, self, on_fatal=on_fatal)
        self._patience = patience
        self._refusals: Refusals[Outgoing] = Refusals(self.link.name, patience, self._send_again)
        self._room = Room(limits, lambda: f"{self.link.name}: {self.link.state}")
        self._largest = limits.message_size
        self._topology = topology
        self._connection: Any = None
        self._channel: Any = None
        self._control: Any = None
        self._sequence = 0
        self._lowest = 1
        self._unconfirmed: dict[int, Outgoing] = {}
        self._waiting: deque[Outgoing | Command] = deque()
        self._returned: dict[tuple[str | None, str], str] = {}
        self._confirm_times = Durations()
        self._number = 0
        self._reopen = False
        # Time until which another channel is waited for, while it is.
        self._renew_by = 0.0

    # -- for anyone -------------------------------------------------------------------------

    def __len__(self) -> int:
        return self._room.count

    @property
    def confirm_times(self) -> Histogram:
        """How long the broker took to confirm what it has taken, each from its last sending on."""
        return self._confirm_times.so_far()

    @property
    def frame_max(self) -> int:
        """Bytes of one frame, as far as that is known: a message's properties have to fit into one."""
        return int(getattr(self._connection, "frame_max", None) or _FRAME_MAX)

    def check_size(self, body: bytes) -> None:
        """Refuse a body that is too large for the settings or for the broker.

        Raises:
            MessageTooLarge: It is.
        """
        if len(body) > self._largest:
            raise MessageTooLarge(f"a message of {len(body)} bytes is larger than the limit of {self._largest} bytes")

    def publish(self, message: Outgoing, *, deadline: float | None) -> None:
        """Take a message; wait for room in the outbox first if it is full.

        Args:
            message: The message; its ``done`` is called when its outcome is known.
            deadline: Time (`time.monotonic`) until which to wait for room; None for ever.

        Raises:
            Backlogged: No room came in time.
            AmqpRpcException: What `turn_away` or `refuse_all` was called with meanwhile.
        """
        self._room.wait(len(message.body), deadline)
        self.publish_now(message)

    def publish_now(self, message: Outgoing) -> None:
        """Take a message whether or not there is room."""
        self._number += 1
        message.number = self._number
        self._room.take(len(message.body))
        if self._channel is None or self._waiting or self.link.blocked:
            self._waiting.append(message)
        else:
            self._send(message)

    def run(self, action: Callable[[Any], Any]) -> AsyncResult[Any]:
        """Do something on the control channel, after the messages before it.

        Args:
            action: Takes the channel; runs in the owner's greenlet, again if the connection broke
                in the middle.

        Returns:
            Its result, or the `BrokerError` or other exception that it ended with.
        """
        command = Command(action)
        self._waiting.append(command)
        self.link.wake()
        return command.result

    def flush(self, timeout: float) -> bool:
        """Wait until everything is confirmed while the connection is up; tell whether it is."""
        if self._room.count and (not self.link.connected or self.link.blocked):
            return False
        return self._room.wait_empty(timeout)

    def refuse_all(self, error: BrokerError) -> None:
        """End everything that waits with an error, as the broker will never take it."""
        self.turn_away(error)
        items = [*self._unconfirmed.values(), *self._refusals.take_all(), *self._waiting]
        self._unconfirmed.clear()
        self._waiting.clear()
        for item in items:
            if isinstance(item, Command):
                item.result.set_exception(error)
            else:
                self._settle(item, None if item.arrived else error)

    def turn_away(self, error: AmqpRpcException, *, only_endless: bool = False) -> None:
        """Raise an error to those who wait for room, or to those of them who would wait for ever."""
        self._room.turn_away(error, only_endless=only_endless)

    # -- the owner's greenlet: Worker -------------------------------------------------------

    def attach(self, connection: Any) -> None:
        """Declare the topology, then send what waits; see `Worker`."""
        self._connection = connection
        self._control = ControlChannel(connection)
        self._open()

    def work(self) -> None:
        """Send what waits, as far as the broker allows; see `Worker`."""
        if self._reopen:
            self._open()
        if self._renew_by and self._channel is not None and not self._renew():
            return
        waiting = self._waiting
        while waiting and self._channel is not None and not self.link.blocked:
            item = waiting[0]
            if isinstance(item, Command):
                self._execute(item)
            else:
                waiting.popleft()
                if item.arrived:
                    self._settle(item, None)
                else:
                    self._send(item)

    def detach(self) -> None:
        """Keep what is not confirmed for the next connection; see `Worker`."""
        self._connection = self._control = None
        self._lose_channel()
        self._refusals.forget()

    def finish(self) -> None:
        """Nothing to say: what is not confirmed is sent again; see `Worker`."""

    # -- channels ---------------------------------------------------------------------------

    def _open(self) -> None:
        self._reopen = False
        self._control.run(self._topology.declare)
        self._redeclare_added()
        self._open_channel()

    def _open_channel(self) -> None:
        channel = self._connection.channel()
        channel.on_confirm = self._on_confirm
        channel.on_return = self._on_return
        channel.on_closed = self._on_closed
        channel.confirm_select()
        self._channel = channel
        self._sequence = 0
        self._lowest = 1

    def _redeclare_added(self) -> None:
        try:
            self._control.run(self._topology.declare_added)
        except ChannelError:
            # Find out which, and declare the others.
            self._redeclare_singly()

    def _redeclare_singly(self) -> None:
        for queue in self._topology.added:
            try:
                self._control.run(partial(create_queue, queue))
            except ChannelError as error:
                fault = explain(error, self.link.address)
                logger.error("%s: %r: %s", self.link.name, queue.name, fault.error)

    def _lose_channel(self) -> None:
        """Put what is not confirmed back to the front, in order."""
        self._channel = None
        self._renew_by = 0.0
        self._returned.clear()
        unconfirmed, self._unconfirmed = list(self._unconfirmed.values()), {}
        if self._refusals:
            unconfirmed = sorted([*unconfirmed, *self._refusals.take_all()], key=lambda message: message.number)
        self._waiting.extendleft(reversed(unconfirmed))

    def _on_closed(self, error: ChannelError) -> None:
        """The broker closed the publishing channel because of one of the messages."""
        unconfirmed = list(self._unconfirmed.values())
        self._lose_channel()
        self._reopen = True
        fault = explain(error, self.link.address).error
        too_large = re.search(r"message size \d+ .*max size (\d+)", str(error))
        if too_large:
            self._largest = int(too_large.group(1))
            self._fail([m for m in unconfirmed if len(m.body) > self._largest], MessageTooLarge)
        elif isinstance(error, amqp.NotFound):
            logger.warning("%s: %s; declaring it again", self.link.name, fault)
        else:
            logger.error("%s: the broker refuses to take messages: %s", self.link.name, fault)
            self._fail(unconfirmed, type(fault), str(fault))

    def _fail(self, messages: list[Outgoing], kind: type[AmqpRpcException], text: str | None = None) -> None:
        for message in messages:
            self._waiting.remove(message)
            self._settle(
                message,
                kind(
                    text
                    or f"a message of {len(message.body)} bytes is larger than the broker's limit "
                    f"of {self._largest} bytes (max_message_size)"
                ),
            )

    def _execute(self, command: Command) -> None:
        """Run the command at the head of the queue; it leaves the queue when its outcome is known."""
        # It stays in the queue while it runs, so that nothing overtakes it; where the connection
        # breaks (any other error), it stays for the next one. Unconfirmed messages may have come
        # to stand before it meanwhile.
        try:
            value = self._control.run(command.action)
        except ChannelError as error:
            if self._leaves(command):
                command.result.set_exception(explain(error, self.link.address).error)
        else:
            if self._leaves(command):
                command.result.set(value)

    def _leaves(self, command: Command) -> bool:
        """Take a command out of the queue; tell whether it was there, and not refused with all others meanwhile."""
        if command.result.ready():
            return False
        self._waiting.remove(command)
        return True

    # -- messages ---------------------------------------------------------------------------

    def _send(self, message: Outgoing) -> None:
        if self._refusals and self._refusals.hold_back(message):
            return
        now = monotonic()
        if message.expires_at is not None:
            remaining = message.expires_at - now
            if remaining <= 0:
                self._settle(message, NoResult(_expired(message)))
                return
            limit = expiration(remaining)
            # What remains only becomes less: one that was set once is set again.
            if limit is not None:
                message.properties["expiration"] = limit
        self._sequence += 1
        unconfirmed = self._unconfirmed
        unconfirmed[self._sequence] = message
        message.sent_at = now
        self._channel.publish(
            message.exchange,
            message.routing_key,
            message.properties,
            message.body,
            mandatory=True,
            at_once=len(unconfirmed) == 1,
        )

    def _on_confirm(self, tag: int, multiple: bool, acked: bool) -> None:
        now = monotonic()
        for sequence in range(self._lowest, tag + 1) if multiple else (tag,):
            self._confirm_one(sequence, acked, now)
        while self._lowest <= self._sequence and self._lowest not in self._unconfirmed:
            self._lowest += 1

    def _confirm_one(self, sequence: int, acked: bool, now: float) -> None:
        message = self._unconfirmed.pop(sequence, None)
        if message is None:
            return
        if self._returned:
            key = (message.properties.get("message_id"), message.routing_key)
            text = self._returned.pop(key, None)
            if text is not None:
                self._settle(message, Unroutable(_unroutable(message, text)))
                return
        if acked:
            # (What was sent again, after a reconnect say, has waited for this connection no longer.)
            self._confirm_times.add(now - message.sent_at)
            if self._refusals:
                self._refusals.taken(message)
            self._settle(message, None)
        elif not self._refusals.keep(message):
            self._settle(message, PublishNacked(self._nacked(message)))

    def _nacked(self, message: Outgoing) -> str:
        what = f"a message to exchange {message.exchange!r}, routing key {message.routing_key!r}"
        if not self._patience:
            return f"the broker refused (nacked) {what}: is a queue full?"
        return (
            f"the broker refused (nacked) {what}, for {self._patience:g} s: is a queue full, or are most nodes of a "
            "quorum queue down?"
        )

    def _send_again(self, messages: list[Outgoing]) -> None:
        """Send what the broker refused a moment ago, before anything newer, on another channel."""
        self._waiting.extendleft(reversed(messages))
        self._renew_by = monotonic() + _DRAIN
        self.link.wake()
        gevent.spawn_later(_DRAIN, self.link.wake)

    def _renew(self) -> bool:
        """Take another channel for what was refused on this one; tell whether that is done.

        What is still unconfirmed gets a moment to be confirmed: it would have to be sent again.
        """
        if self._unconfirmed and monotonic() < self._renew_by:
            return False
        self._renew_by = 0.0
        channel, self._channel = self._channel, None
        channel.close()
        self._lose_channel()
        self._open_channel()
        return True

    def _settle(self, message: Outgoing, error: AmqpRpcException | None) -> None:
        message.done(message, error)
        self._room.give_back(len(message.body))

    def _on_return(self, text: str, exchange: str, routing_key: str, message_id: str | None) -> None:
        # Comes before the confirm of the same message, and carries no delivery tag.
        self._returned[message_id, routing_key] = text


def _unroutable(message: Outgoing, text: str) -> str:
    return (
        f"no queue takes messages to exchange {message.exchange!r} with routing key "
        f"{message.routing_key!r} (the broker says: {text})"
    )


def _expired(message: Outgoing) -> str:
    held = "sent, but not confirmed by the broker, and it is not sent again" if message.sent else "never sent"
    return f"the deadline of a message to exchange {message.exchange!r} has passed: it was {held}"
