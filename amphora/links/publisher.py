"""Publishes messages, confirmed and in order, over a connection of its own.

What happens to a message, and when, is decided by `amphora.core.outbox`. This is its driver: it opens channels, runs
commands and hands on what the broker says. Source: RabbitMQ's publisher confirms, https://www.rabbitmq.com/docs/confirms.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from time import monotonic
from typing import Any

import amqp
import gevent
from amqp.exceptions import AMQPError, ChannelError
from gevent.event import AsyncResult, Event
from kombu import Queue

from amphora.core.limiter import Limiter, TicketState
from amphora.core.messages import ChannelCommand, Lane, OutgoingMessage
from amphora.core.outbox import Outbox
from amphora.core.outbox_ports import Step
from amphora.driver.ports import ChannelPort, ConnectionPort
from amphora.driver.progress import Silence, Unanswered
from amphora.durations import Histogram
from amphora.exceptions import AmqpRpcException, Backlogged, BrokerError, MessageRejected, MessageTooLarge
from amphora.links.connection import Link
from amphora.links.declare_channel import DeclareChannel, is_not_found
from amphora.links.errands import Errands, ask_anything
from amphora.links.faults import explain
from amphora.links.reply_texts import reply_code, reply_text, size_limit
from amphora.links.restoring import removed, restore
from amphora.links.side_channel import SideChannel
from amphora.links.topology import Topology, create_queue
from amphora.links.wire import Wire
from amphora.logs.note_log import NoteLogger
from amphora.options.settings import LinkSettings, OutboxLimits

__all__ = ["Publisher", "nack_retry_seconds"]

logger = NoteLogger(__name__)

#: Seconds for which a message to a quorum queue is sent again. An election takes a second or so, on busy machines
#: several; a queue that is full stays so.
_PATIENCE = 30.0

#: Reply codes of AMQP 0-9-1 with which a broker ends a connection because of what was sent to it.
_PROTOCOL_ERRORS = frozenset((501, 502, 503, 504, 505, 506, 540))

#: Seconds that a new connection waits for an answer about one queue.
_MOMENT = 3.0

#: Seconds until a queue about which there was no answer is asked for again, which double, and at most.
_ASK_AGAIN, _ASK_AGAIN_MAX = 1.0, 15.0


def nack_retry_seconds(queue_type: str) -> float:
    """Return the seconds for which messages that a queue of this type refuses should be sent again."""
    return _PATIENCE if queue_type == "quorum" else 0.0


class Publisher:
    """Publishes messages, confirmed and in order, over a connection of its own.

    Args:
        name: What operators see.
        settings: How to connect.
        limits: How much the outbox holds.
        topology: Declared on each new connection before anything is published.
        on_fatal: See `Link`.
        patience: Seconds for which a message that the broker refuses (nacks) is sent again.

    Attributes:
        largest: Bytes that a message's body may have, as far as is known; see `check_size`.
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
        self._wire = Wire(self.link, patience)
        self._limiter = Limiter(limits.count, limits.size)
        self._outbox = Outbox(self._wire, self._limiter, patience=patience)
        self.largest = limits.message_size
        self._topology = topology
        self._connection: ConnectionPort | None = None
        self._control: DeclareChannel | None = None
        self._errands: Errands | None = None
        # Queues about which the broker does not answer, and what asks again.
        self._silent: list[Queue] = []
        self._asking: gevent.Greenlet[..., None] | None = None

    # -- for anyone -------------------------------------------------------------------------

    def __len__(self) -> int:
        return self._limiter.count

    @property
    def patience(self) -> float:
        """Seconds for which a message that the broker refuses (nacks) is sent again."""
        return self._outbox.patience

    @patience.setter
    def patience(self, value: float) -> None:
        self._outbox.patience = self._wire.patience = value

    @property
    def confirm_times(self) -> Histogram:
        """How long the broker took to confirm what it has taken, each from its last sending on."""
        return self._wire.confirm_times.so_far()

    def check_size(self, body: bytes) -> None:
        """Refuse a body that is too large for the settings or for the broker.

        Raises:
            MessageTooLarge: It is.
        """
        if len(body) > self.largest:
            text = f"a message of {len(body)} bytes is larger than the limit of {self.largest} bytes"
            raise MessageTooLarge(text, size=len(body), limit=self.largest)

    def publish(self, message: OutgoingMessage, *, deadline: float | None) -> None:
        """Take a message; wait for room in the outbox first if it is full.

        Args:
            message: The message; its ``done`` is called when its outcome is known.
            deadline: Time (`time.monotonic`) until which to wait for room; None for no limit.

        Raises:
            Backlogged: No room came in time.
            AmqpRpcException: What `turn_away` or `refuse_all` was called with meanwhile.
        """
        limiter, size = self._limiter, message.size
        # Where there is plenty of room, that is seen without a call.
        plenty = limiter.count < limiter.max_count and limiter.size + size <= limiter.max_size
        if (not plenty or limiter.line or limiter.reserved) and not limiter.admits(size):
            self._wait_for_room(size, deadline)
        outbox = self._outbox
        outbox.blocked = self.link.blocked
        outbox.submit(message, monotonic())

    def publish_now(self, message: OutgoingMessage) -> None:
        """Take a message whether or not there is room.

        A message that its ``done`` publishes again keeps its place: it is sent before what was published after it.
        """
        outbox = self._outbox
        outbox.blocked = self.link.blocked
        outbox.submit(message, monotonic())

    def withdraw(self, message: OutgoingMessage) -> bool:
        """Take back a message that is not sent, or is to be sent again; return whether it was not on its way.

        Its ``done`` is called with a `NoResult`.
        """
        return self._outbox.withdraw(message)

    def run(
        self,
        action: Callable[[ChannelPort], Any],
        *,
        key: Hashable = None,
        expendable: bool = False,
        holds: Lane | None = None,
        limit: float | None = None,
    ) -> AsyncResult[Any]:
        """Do something on a channel for declarations, after the messages before it.

        Args:
            action: Takes the channel; runs in a greenlet of its own, again if the connection broke in the middle.
            key: If a command with this key is waiting, its result is returned and the action dropped.
            expendable: Whether the action may be dropped where a thousand of these wait; its result is an error then.
            holds: The exchange and routing key whose messages wait for it, however long it takes. Others wait for a
                second at most.
            limit: Seconds to wait for an answer that does not come, for what can be done without; see `ChannelCommand`.

        Returns:
            Its result, or the `BrokerError` that it ended with.
        """
        command = ChannelCommand(action, AsyncResult(), key=key, expendable=expendable, holds=holds, limit=limit)
        added = self._outbox.add(command)
        if added is None:
            command.result.set_exception(BrokerError(f"{self.link.name}: dropped, as too many commands wait"))
            added = command
        result: AsyncResult[Any] = added.result
        return result

    def flush(self, timeout: float) -> bool:
        """Wait until what was taken before has its outcome, while the connection is up; return whether it has."""
        if self._limiter.count and (not self.link.connected or self.link.blocked):
            return False
        empty = Event()
        flush = self._outbox.flush(empty.set)
        if not flush.left:
            return True
        try:
            return bool(empty.wait(timeout))
        finally:
            self._outbox.end_flush(flush)

    def drain(self, timeout: float | None, *ends: Event) -> bool:
        """Wait until what was taken before has its outcome, with or without a connection; return whether it has.

        Args:
            timeout: Seconds to wait at most; None for no limit.
            ends: Events that end the wait, as stopping the link does.
        """
        empty = Event()
        flush = self._outbox.flush(empty.set)
        if not flush.left:
            return True
        try:
            gevent.wait([empty, self.link.stopped, *ends], timeout=timeout, count=1)
        finally:
            self._outbox.end_flush(flush)
        return empty.is_set()

    def unconfirmed(self) -> list[OutgoingMessage]:
        """Return the messages that may still be sent, or are sent but not confirmed; not those that have expired."""
        now = monotonic()
        return [
            each
            for each in self._outbox.messages()
            if not each.arrived and (each.expires_at is None or each.expires_at > now)
        ]

    def refuse_all(self, error: BrokerError) -> None:
        """End everything that waits with an error, as the broker will never take it."""
        self._outbox.refuse_all(error)

    def turn_away(self, error: AmqpRpcException, *, only_endless: bool = False) -> None:
        """Raise an error to those who wait for room, or to those of them who have no deadline."""
        self._limiter.turn_away(error, only_endless=only_endless)

    def _wait_for_room(self, size: int, deadline: float | None) -> None:
        changed, limiter = Event(), self._limiter
        ticket = limiter.wait(size, endless=deadline is None, on_change=changed.set)
        try:
            remaining = None if deadline is None else deadline - monotonic()
            if ticket.state is TicketState.WAITING and (remaining is None or remaining > 0):
                changed.wait(remaining)
            if ticket.refusal is not None:
                raise ticket.refusal
            if ticket.state is TicketState.WAITING:
                raise Backlogged(
                    f"{limiter.count} messages ({limiter.size} bytes) await the broker's "
                    f"confirmation, no room for one more ({self.link.name}: {self.link.state})",
                    messages=limiter.count,
                    size=limiter.size,
                )
            limiter.redeem(ticket)
        except BaseException:
            limiter.abandon(ticket)
            raise

    # -- the owner's greenlet: Worker -------------------------------------------------------

    def attach(self, connection: ConnectionPort) -> None:
        """Declare the topology, then send what waits; see `Worker`."""
        self._connection = connection
        self._control = DeclareChannel(connection)
        self._errands = Errands(
            connection, on_overdue=self._on_overdue, on_end=self._on_command_ended, wake=self.link.wake
        )
        self._outbox.attached()
        self._open()

    def work(self) -> None:
        """Send what waits, as far as the broker allows; see `Worker`."""
        outbox, errands = self._outbox, self._errands
        while True:
            if errands is not None and errands.fault is not None:
                raise errands.fault
            outbox.blocked = self.link.blocked
            step = outbox.next_step(monotonic())
            if step is None:
                return
            if step is Step.OPEN:
                self._open()
            elif step is Step.RENEW:
                self._renew()
            elif errands is not None:
                errands.start(step)

    def detach(self) -> None:
        """Keep what is not confirmed for the next connection; see `Worker`."""
        self._connection = self._control = None
        self._wire.use(None)
        errands, self._errands = self._errands, None
        if errands is not None:
            errands.end()
        self._forget_silent()
        error = self.link.ended_by
        # One that the broker sent has the method that it is about; the driver raises such errors of its own too.
        if isinstance(error, AMQPError) and error.method_sig and error.reply_code in _PROTOCOL_ERRORS:
            self._outbox.lost(self._rejection(error))
        else:
            self._outbox.lost()

    def finish(self) -> None:
        """Nothing to say: what is not confirmed is sent again; see `Worker`."""

    # -- channels ---------------------------------------------------------------------------

    def _open(self) -> None:
        try:
            losses, silent = restore(self._topology, self._run_now, self._is_local)
        except Exception as error:
            if isinstance(error, ChannelError) or not self._is_local(error):
                raise
            # No other connection would do better.
            raise explain(error, self.link.address).error from error
        for queue, trouble in losses:
            if trouble is None:
                logger.warning("%s: %s", self.link.name, removed(queue.name, queue.routing_key))
            else:
                logger.error("%s: %r: %s", self.link.name, queue.name, explain(trouble, self.link.address).error)
        self._await(silent)
        self._open_channel()

    def _run_now(self, action: Callable[[ChannelPort], Any]) -> Any:
        """Carry out an action while the owner waits, though not for long.

        Raises:
            Unanswered: There was no answer, and the connection is as good as before.
        """
        connection, control = self._in_use()
        try:
            with connection.answer_within(_MOMENT):
                return control.run(action)
        except Unanswered:
            raise
        except Silence as error:
            control.give_up()
            # A connection that is dead does not answer this either.
            control.run(ask_anything)
            raise Unanswered(f"{error} about a queue", error.seconds) from error

    def _in_use(self) -> tuple[ConnectionPort, DeclareChannel]:
        """Return the connection and its channel for declarations.

        Raises:
            ConnectionResetError: It was lost.
        """
        if self._connection is None or self._control is None:
            raise ConnectionResetError("the connection is lost")
        return self._connection, self._control

    def _await(self, silent: list[Queue]) -> None:
        """Hold the messages to queues about which the broker does not answer, until it does."""
        self._forget_silent()
        self._silent = silent
        for queue in silent:
            self._outbox.close_lane((queue.exchange.name, queue.routing_key))
            logger.warning(
                "%s: the broker does not answer about queue %r (is its node down?); going on without it for now",
                self.link.name,
                queue.name,
                once=("silent", self.link.name, queue.name),
            )
        if silent:
            self._hint()
            self._asking = gevent.spawn(self._ask_again, SideChannel(self._in_use()[0], lambda _: None))

    def _hint(self) -> None:
        names = ", ".join(repr(queue.name) for queue in self._silent)
        self.link.hint = f"but there is no answer about queue {names}: is its node down?" if names else ""

    def _ask_again(self, channel: SideChannel) -> None:
        delay = _ASK_AGAIN
        while self._silent:
            gevent.sleep(delay)
            delay = min(2 * delay, _ASK_AGAIN_MAX)
            for queue in list(self._silent):
                try:
                    channel.run(partial(create_queue, queue))
                except Silence:
                    continue
                except ChannelError as error:
                    if is_not_found(error):
                        # RabbitMQ 4 ends its own wait so.
                        continue
                    logger.error("%s: %r: %s", self.link.name, queue.name, explain(error, self.link.address).error)
                except (AMQPError, OSError) as error:
                    logger.debug("%s: %r: %s", self.link.name, queue.name, error)
                    return
                self._silent.remove(queue)
                self._outbox.open_lane((queue.exchange.name, queue.routing_key))
                self._hint()
        channel.let_go()

    def _forget_silent(self) -> None:
        """Do not ask again; the lanes of these queues are opened, unless the connection was lost with them."""
        asking, self._asking = self._asking, None
        if asking is not None:
            asking.kill(block=False)
        for queue in self._silent:
            self._outbox.open_lane((queue.exchange.name, queue.routing_key))
        self._silent = []
        self._hint()

    def _open_channel(self) -> None:
        connection, _ = self._in_use()
        channel = connection.channel()
        channel.confirm_select()
        self._wire.use(channel)
        epoch = self._outbox.opened()
        channel.on_confirm = partial(self._on_confirm, epoch)
        channel.on_return = partial(self._outbox.returned, epoch)
        channel.on_closed = partial(self._on_closed, epoch)

    def _renew(self) -> None:
        """Give up the channel for another one."""
        channel = self._wire.channel
        self._wire.use(None)
        if channel is not None:
            channel.close()
        self._outbox.renewed()
        self._open_channel()

    def _is_local(self, error: Exception) -> bool:
        """Return whether an error is an action's own, and the connection is as good as before."""
        return not isinstance(error, OSError) and (self._connection is None or bool(self._connection.connected))

    # -- commands ---------------------------------------------------------------------------

    def _on_overdue(self, command: ChannelCommand) -> None:
        self._outbox.overdue(command)
        logger.debug("%s: a command takes long; going on beside it", self.link.name)

    def _on_command_ended(self, command: ChannelCommand, value: Any, error: Exception | None) -> None:
        if error is None:
            if self._outbox.command_ended(command) and command.result is not None:
                command.result.set(value)
        elif isinstance(error, (ChannelError, Unanswered)) or self._is_local(error):
            if self._outbox.command_failed(command) and command.result is not None:
                command.result.set_exception(explain(error, self.link.address).error)
        elif self._errands is not None:
            # The connection's: the command runs again on the next one.
            self._errands.fault = error

    # -- what the broker says ---------------------------------------------------------------

    def _on_confirm(self, epoch: int, tag: int, multiple: bool, acked: bool) -> None:
        self._outbox.confirmed(epoch, tag, multiple, acked, monotonic())

    def _on_closed(self, epoch: int, error: ChannelError) -> None:
        """The broker closed the publishing channel because of one of the messages."""
        fault = explain(error, self.link.address).error
        limit = size_limit(error)
        if limit is not None:
            self.largest = limit
            self._outbox.closed_by_size(epoch, self.largest, self._rejection(error))
        elif isinstance(error, amqp.NotFound):
            logger.warning("%s: %s; declaring it again", self.link.name, fault)
            self._outbox.closed_by_missing_exchange(epoch, fault)
        elif isinstance(error, amqp.AccessRefused):
            logger.error("%s: the broker refuses to take messages: %s", self.link.name, fault)
            self._outbox.closed_by(epoch, fault, lane_wide=True)
        else:
            suspects = self._outbox.closed_by(epoch, self._rejection(error))
            if suspects == 1:
                logger.error("%s: the broker refuses to take a message: %s", self.link.name, fault)
            else:
                logger.warning(
                    "%s: the broker refuses one of %d messages: %s; sending them again to find out which",
                    self.link.name,
                    suspects,
                    fault,
                )

    def _rejection(self, error: AMQPError) -> MessageRejected:
        rejection = MessageRejected(
            f"the broker at {self.link.address} rejects the message: {error.reply_text}",
            reply_code=reply_code(error),
            reply_text=reply_text(error),
        )
        rejection.__cause__ = error
        return rejection
