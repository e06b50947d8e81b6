"""Subscriptions to queues over one connection: the driver of `amphora.core.subscriptions`.

The owner's greenlet reads frames and hands deliveries on. Each command of the machine is carried out by a greenlet of
its own, so that an answer that does not come costs the channel of that command, and nothing else. The prefetch count
is per consumer (`basic.qos` with global off). Source: https://www.rabbitmq.com/docs/consumer-prefetch.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Any

import gevent
from amqp.exceptions import AMQPError, ChannelError, InternalError, NotAllowed, ResourceError
from gevent import get_hub
from gevent.event import AsyncResult
from kombu import Queue

from amphora.core.subscriptions import Kind, Lane, Method, Options, State, SubscriptionCommand, Subscriptions
from amphora.driver.incoming_message import IncomingMessage, SettlingChannel
from amphora.driver.ports import ChannelPort, ConnectionPort
from amphora.driver.progress import Silence, Unanswered
from amphora.exceptions import BrokerUnreachable
from amphora.interrupts import contained, let_through
from amphora.links.connection import Link
from amphora.links.declare_channel import QueuedAction, is_not_found
from amphora.links.errands import ask_anything
from amphora.links.faults import explain
from amphora.links.reply_texts import names_argument
from amphora.links.side_channel import SideChannel
from amphora.links.subscription import Subscription
from amphora.links.topology import Topology, create_queue, delete_queue
from amphora.logs.note_log import NoteLogger
from amphora.options.settings import LinkSettings

__all__ = ["Consumer"]

logger = NoteLogger(__name__)

#: Seconds after which the topology is declared again, in case that a part of it was deleted, where there is no
#: heartbeat to go by.
_CHECK = 30.0

#: Has the broker cancel a consumer whose classic queue is gone, always. Otherwise, where the queue is
#: declared again at once, RabbitMQ 3 keeps the consumer without a word and sends it nothing more (it takes
#: the new queue for a mirror of the old one). Source: https://www.rabbitmq.com/docs/3.13/ha#cancellation.
_CANCEL = "x-cancel-on-ha-failover"

#: AMQP 0-9-1: class and method of `basic.consume`.
_BASIC_CONSUME = (60, 20)

#: Seconds for which the channel of ended subscriptions stays open. RabbitMQ 4 may lose the last acknowledgements of a
#: quorum queue if the channel is closed right after them: in three of eight runs of 300 requests on 4.3.6, some of them
#: ran twice.
_LINGER = 3.0

#: The same when a server stops, which waits for it.
_LINGER_AT_STOP = 0.5

#: How often an own queue is tried on a new connection before that is given up for another one.
_TRIES = 3

#: Seconds for which a new connection waits for the queues that it may do without.
_PATIENCE = 5.0

#: Seconds after which the answer to a command of others is overdue; while others are overdue, it need not be waited for
#: that long.
_OVERDUE, _SOONER = 1.0, 0.05

#: Channels that wait for an answer in vain: with so many, no queue but an own one is looked for. After so many times in
#: a row without an answer about an own one, the connection is given up.
_ABANDONED = 8


class Consumer:
    """Consumes from any number of queues over a connection of its own.

    Args:
        name: What operators see.
        settings: How to connect.
        topology: Declared on each new connection before anything is consumed.
        ack_on_delivery: Acknowledge each message once its ``deliver`` has returned, many at a time.
        insists: Whether to begin with asking for `_CANCEL`, which only classic queues know.
        on_fatal: See `Link`.

    Attributes:
        insists: The same, as far as is known now.
        on_suspect: What to do with a message that has broken several connections; see `Channel`.
    """

    def __init__(
        self,
        name: str,
        settings: LinkSettings,
        topology: Topology,
        *,
        ack_on_delivery: bool,
        insists: bool = True,
        on_fatal: Callable[[Any], None],
    ) -> None:
        self.link = Link(f"{name} consumer", settings, self, on_fatal=on_fatal)
        self.on_suspect: Callable[[IncomingMessage], None] | None = None
        self._topology = topology
        self._ack_on_delivery = ack_on_delivery
        self.insists = insists
        self._machine: Subscriptions[Subscription] = Subscriptions(Options(), self)
        self._connection: ConnectionPort | None = None
        self._control: SideChannel | None = None
        self._looks: SideChannel | None = None
        # For the commands of others, which may ask for queues that do not answer.
        self._asks: SideChannel | None = None
        self._channels: dict[Lane, ChannelPort] = {}
        self._lanes: dict[SettlingChannel, Lane] = {}
        self._prefetches: dict[Lane, int] = {}
        # Lanes that the broker closed while a command was under way on them: the machine learns it with that one's end.
        self._closed: dict[Lane, ChannelError] = {}
        # That of the topology's queues, on the way of every delivery and acknowledgement.
        self._own_channel: ChannelPort | None = None
        self._last_tag = 0
        # Whether the machine, or a command, waits for the owner's next turn.
        self._stirred = False
        self._ready = False
        self._looked = False
        self._trouble: Exception | None = None
        # Channels that were given up, and how often in a row no answer came about an own queue.
        self._hung: list[ChannelPort] = []
        # Channels that are to be closed, and until when they stay.
        self._lingering: deque[tuple[float, ChannelPort]] = deque()
        self._silences = 0
        self._patience = 0.0
        self._running: dict[SubscriptionCommand, gevent.Greenlet[..., None]] = {}
        self._commands: list[QueuedAction] = []
        # Those under way, the greenlets that carry them out, and the channel that the next ones are carried out on.
        self._begun: list[QueuedAction] = []
        self._executors: set[gevent.Greenlet[..., None]] = set()
        self._executing: SideChannel | None = None
        self._check_interval = settings.heartbeat or _CHECK
        self._check: Any = None
        self._timer: Any = None

    # -- for anyone -------------------------------------------------------------------------

    def subscribe(
        self,
        queue: str,
        *,
        prefetch: int,
        deliver: Callable[[IncomingMessage], None],
        own: bool,
        optional: Queue | None = None,
        private: bool = False,
    ) -> Subscription:
        """Begin to consume from a queue; see `Subscription`."""
        subscription = Subscription(queue, prefetch, deliver, own=own, optional=optional, private=private)
        self._machine.add(subscription, monotonic())
        self._stir()
        return subscription

    def cancel(self, subscription: Subscription) -> None:
        """End a subscription; ``subscription.cancelled`` is set when the broker has agreed."""
        lane, tag = subscription.lane, subscription.tag
        if lane is not None and tag is not None and lane in self._channels:
            channel = self._channels[lane]
            if tag in channel.consumers:
                # What is on its way is for others.
                channel.consumers[tag] = partial(_give_back, channel)
        self._machine.cancel(subscription, monotonic())
        self._stir()

    def ack(self, delivery: IncomingMessage) -> None:
        """Acknowledge a delivery; one of an earlier channel is left to its redelivery."""
        channel = delivery.channel
        if channel is self._own_channel:
            channel.ack(delivery.delivery_tag)
        elif channel in self._lanes:
            channel.ack(delivery.delivery_tag)
            self._settle(self._lanes[channel])

    def reject(self, delivery: IncomingMessage, *, requeue: bool) -> None:
        """Give a delivery back to its queue, or drop it (or dead-letter it)."""
        channel = delivery.channel
        if channel is self._own_channel:
            channel.reject(delivery.delivery_tag, requeue=requeue)
        elif channel in self._lanes:
            channel.reject(delivery.delivery_tag, requeue=requeue)
            self._settle(self._lanes[channel])

    def is_current(self, delivery: IncomingMessage) -> bool:
        """Return whether a delivery can still be acknowledged."""
        return delivery.channel is self._own_channel or delivery.channel in self._lanes

    @property
    def consuming(self) -> bool:
        """Whether the broker delivers from every queue of the topology that is subscribed to."""
        return self._machine.consuming

    def run(self, action: Callable[[ChannelPort], Any]) -> AsyncResult[Any]:
        """Do something on a channel for declarations, as soon as the connection is up.

        Args:
            action: Takes the channel; runs in a greenlet of its own, again if the connection broke in the middle.

        Returns:
            Its result, or the error that it ended with: the `BrokerError` that the broker refused it with, or
            `BrokerUnreachable` where no answer came.
        """
        command = QueuedAction(action)
        self._commands.append(command)
        self._stir()
        return command.result

    def drop(self, result: AsyncResult[Any]) -> None:
        """Forget a result of `run` that is no longer waited for."""
        self._commands = [each for each in self._commands if each.result is not result]

    def check_topology(self) -> None:
        """Declare the topology again soon: something of it may have been deleted."""
        self._machine.check_topology(monotonic())
        self._stir()

    def _settle(self, lane: Lane) -> None:
        if self._machine.settle(lane):
            self._stir()

    def _stir(self) -> None:
        self._stirred = True
        self.link.wake()

    # -- the owner's greenlet: Worker -------------------------------------------------------

    def attach(self, connection: ConnectionPort) -> None:
        """Declare the topology and take up every subscription; see `Worker`."""
        self._connection = connection
        self._control, self._looks, self._asks = (SideChannel(connection, self._hung.append) for _ in range(3))
        self._ready = self._looked = False
        self._trouble, self._silences = None, 0
        self._machine.attach(monotonic())
        self._turn()
        self._patience = monotonic() + _PATIENCE
        timer = get_hub().loop.timer(_PATIENCE)
        timer.start(contained, self._stir)
        try:
            while not self._is_calm():
                connection.pump()
                self.work()
        finally:
            timer.stop()
            timer.close()
        self._ready = self._stirred = True
        self._check = get_hub().loop.timer(self._check_interval, self._check_interval)
        self._check.start(contained, self.check_topology)

    def work(self) -> None:
        """Acknowledge, subscribe, cancel; see `Worker`."""
        own = self._own_channel
        if self._last_tag and own is not None:
            own.ack(self._last_tag, multiple=True)
            self._last_tag = 0
        if self._stirred:
            self._turn()

    def detach(self) -> None:
        """Forget the connection; see `Worker`."""
        self._end_commands()
        self._forget_channels()
        self._hung.clear()
        self._lingering.clear()
        self._connection = self._control = self._looks = self._asks = None
        self._ready = False
        error = self.link.ended_by
        if isinstance(error, NotAllowed) and error.method_sig == _BASIC_CONSUME:
            # `consumer_max_per_channel`. Label queues share channels, the own queue of an endpoint has one of its own.
            self._machine.keep_apart()
        self._machine.lost(internal_error=isinstance(self.link.ended_by, InternalError))

    def finish(self) -> None:
        """Close the channels, which makes the broker take every acknowledgement; see `Worker`."""
        self.work()
        if self._channels and not self.insists and not self._ack_on_delivery:
            gevent.sleep(_LINGER_AT_STOP)
        # Deliveries that are still on their way belong to others from here on.
        busy = {command.lane for command in self._running}
        channels = dict(self._channels)
        self._end_commands()
        self._forget_channels()
        for lane, channel in channels.items():
            if lane in busy:
                channel.abandon()
            else:
                channel.consumers = dict.fromkeys(channel.consumers, _drop)
                channel.close()

    def _turn(self) -> None:
        """Let the machine look at the time, and carry out what it asks for."""
        self._stirred = False
        now = monotonic()
        self._end_lingering(now)
        self._machine.tick(now)
        while (command := self._machine.next_command(now)) is not None:
            if command.method is Method.CLOSE:
                self._close(command)
            else:
                self._running[command] = gevent.spawn(self._carry_out, command)
        if self._ready and self._executing is None and self._next_action() is not None:
            self._executing = self._asks
            self._executors.add(gevent.spawn(self._execute_all))
        if self._silences >= _ABANDONED:
            raise Silence(f"no answer from the broker on {self._silences} channels")

    def _is_calm(self) -> bool:
        """Return whether a new connection has been put to use, as far as that can be waited for.

        Raises:
            Exception: The topology was refused, or an own queue cannot be consumed from.
        """
        machine = self._machine
        own = [wish for wish in machine.wishes if wish.kind is Kind.OWN]
        tries = max((wish.failures for wish in own), default=0)
        if self._trouble is not None and (machine.declare_failures or tries >= _TRIES):
            raise self._trouble
        if not machine.declared or any(wish.state is not State.CONSUMING for wish in own):
            return False
        # Where the broker does not answer about one, the others are not waited for either.
        if self._hung or monotonic() >= self._patience:
            return True
        return not any(wish.state in _FIRST for wish in machine.wishes)

    def _end_commands(self) -> None:
        for timer in (self._timer, self._check):
            if timer is not None:
                timer.stop()
                timer.close()
        self._timer = self._check = None
        greenlets = [*self._running.values(), *self._executors]
        self._running.clear()
        self._executors.clear()
        self._begun.clear()
        self._executing = None
        gevent.killall(greenlets, block=False)

    # -- carrying out commands, in greenlets of their own -----------------------------------

    def _carry_out(self, command: SubscriptionCommand) -> None:
        try:
            self._raise_if_closed(command.lane)
            self._ask(command)
            # The broker may have closed the channel right after its answer.
            self._raise_if_closed(command.lane)
        except Silence as error:
            self._on_hung(command, error)
        except ResourceError as error:
            # No channel is free: `channel_max`. Those that linger are no longer worth it.
            self._end_lingering(math.inf)
            self._on_failed(command, error)
            if command.lane is None:
                self._machine.refused(command, monotonic(), missing=False, closed=False)
            else:
                self._machine.no_lane(command, monotonic())
        except ChannelError as error:
            self._on_refused(command, error)
        except (AMQPError, OSError) as error:
            # The channel was closed under it, or the connection is lost, which its owner finds out by itself.
            logger.debug("%s: %r: %s", self.link.name, command, error)
            self._machine.refused(command, monotonic(), missing=False, closed=self._is_closed(command.lane))
        except Exception as error:  # noqa: BLE001  (whatever a driver makes of a command ends that command)
            let_through(error)
            self._on_failed(command, error)
            self._machine.refused(command, monotonic(), missing=False, closed=self._is_closed(command.lane))
        else:
            if command.wish is None or command.wish.kind is Kind.OWN:
                self._silences = 0
            self._machine.done(command, monotonic())
        finally:
            self._running.pop(command, None)
            if command.lane is not None:
                self._closed.pop(command.lane, None)
            self._stir()

    def _raise_if_closed(self, lane: Lane | None) -> None:
        """Raise the error with which the broker has closed the channel of a lane while nothing waited for an answer."""
        error = None if lane is None else self._closed.get(lane)
        if error is not None:
            raise error

    def _ask(self, command: SubscriptionCommand) -> None:
        control, looks = self._control, self._looks
        if control is None or looks is None:
            return
        subscription: Any = command.wish
        looks_for = command.method in (Method.LOOK, Method.DECLARE) and subscription is not None
        if looks_for and self._is_hanging():
            raise BrokerUnreachable(f"the broker has not answered on {_ABANDONED} channels, which it keeps open")
        if command.method is Method.CONSUME:
            self._consume(subscription, command)
        elif command.method is Method.CANCEL:
            channel = self._channels.get(command.lane)  # type: ignore[arg-type]
            if channel is not None:
                channel.basic_cancel(command.tag)
                channel.consumers.pop(command.tag, None)
        elif command.method is Method.LOOK:
            looks.run(partial(_look_for, subscription.queue))
        elif command.method is Method.RECREATE:
            logger.warning(
                "%s: the broker does not let queue %r be consumed from; deleting it, with the messages in it, and "
                "declaring it again",
                self.link.name,
                subscription.queue,
            )
            control.run(partial(delete_queue, subscription.queue))
        elif subscription is not None:
            looks.run(partial(create_queue, subscription.optional))
        else:
            if self._topology.witness is not None and not self._looked:
                control.run(self._topology.witness.look)
            self._looked = True
            control.run(self._topology.declare)

    def _consume(self, subscription: Subscription, command: SubscriptionCommand) -> None:
        lane: Any = command.lane
        tag = command.tag
        channel = self._channels.get(lane)
        if channel is None:
            channel = self._open(lane)
        channel.consumers[tag] = self._taking(subscription, lane, channel)
        if self._prefetches.get(lane) != subscription.prefetch:
            # Holds for the consumers that are started after it on this channel.
            channel.basic_qos(0, subscription.prefetch, False)
            self._prefetches[lane] = subscription.prefetch
        on_cancel = partial(self._on_cancelled, subscription)
        if hasattr(channel, "cancel_callbacks"):
            # Before the answer, which a cancellation may follow at once.
            channel.cancel_callbacks[tag] = on_cancel
        channel.basic_consume(
            subscription.queue,
            consumer_tag=tag,
            arguments={_CANCEL: True} if self.insists else None,
            on_cancel=on_cancel,
        )

    def _open(self, lane: Lane) -> ChannelPort:
        connection = self._connection
        if connection is None:
            raise ConnectionResetError("the connection is lost")
        channel = connection.channel()
        channel.on_closed = partial(self._on_closed, lane)
        if self.on_suspect is not None:
            channel.on_suspect = partial(self._set_aside, lane, self.on_suspect)
        self._channels[lane] = channel
        self._lanes[channel] = lane
        if lane.kind is Kind.OWN:
            self._own_channel = channel
            self._last_tag = 0
        return channel

    def _taking(
        self, subscription: Subscription, lane: Lane, channel: ChannelPort
    ) -> Callable[[IncomingMessage], None]:
        deliver = subscription.deliver
        if lane.kind is Kind.OWN:
            return self._acking(deliver, channel) if self._ack_on_delivery else deliver

        def take(delivery: IncomingMessage) -> None:
            self._machine.delivered(lane)
            deliver(delivery)
            if self._ack_on_delivery:
                self.ack(delivery)

        return take

    def _set_aside(self, lane: Lane, on_suspect: Callable[[IncomingMessage], None], delivery: IncomingMessage) -> None:
        """Hand on a message that is not to be read; it is settled like any other delivery of its lane."""
        if lane.kind is not Kind.OWN:
            self._machine.delivered(lane)
        on_suspect(delivery)

    def _acking(
        self, deliver: Callable[[IncomingMessage], None], channel: ChannelPort
    ) -> Callable[[IncomingMessage], None]:
        def take(delivery: IncomingMessage) -> None:
            deliver(delivery)
            if channel is self._own_channel:
                self._last_tag = delivery.delivery_tag

        return take

    def _close(self, command: SubscriptionCommand) -> None:
        channel = self._forget(command.lane)
        if channel is not None:
            self._lingering.append((monotonic() + _LINGER, channel))
            gevent.spawn_later(_LINGER, self._stir)

    def _end_lingering(self, until: float) -> None:
        """Close the channels that have lingered until this time."""
        while self._lingering and self._lingering[0][0] <= until:
            _, channel = self._lingering.popleft()
            channel.abandon()

    def _execute_all(self) -> None:
        """Carry out what `run` was called with, one after the other, until an answer is overdue."""
        asks, control = self._asks, self._control
        if asks is None or control is None:
            return
        try:
            while self._asks is asks and (command := self._next_action()) is not None:
                # It stays in the list while it runs: where the connection breaks, it is for the next one.
                if not self._execute_watched(command, asks, control):
                    return
                self.drop(command.result)
        finally:
            # (Otherwise the connection has ended under it.)
            executor: Any = gevent.getcurrent()
            if executor in self._executors:
                self._executors.remove(executor)
                if self._executing is asks:
                    self._executing = None
                if self._asks is not asks:
                    asks.let_go()
                self._stir()

    def _next_action(self) -> QueuedAction | None:
        """Return the first command that is not under way."""
        return next((each for each in self._commands if each not in self._begun), None)

    def _execute_watched(self, command: QueuedAction, asks: SideChannel, control: SideChannel) -> bool:
        """Carry out a command; while its answer is overdue, others are carried out on another channel."""
        timer = get_hub().loop.timer(_SOONER if len(self._executors) > 1 else _OVERDUE)
        timer.start(contained, self._on_overdue, asks)
        self._begun.append(command)
        try:
            return self._execute(command, asks, control)
        finally:
            timer.stop()
            timer.close()
            if gevent.getcurrent() in self._executors:
                self._begun.remove(command)

    def _on_overdue(self, asks: SideChannel) -> None:
        connection = self._connection
        if self._asks is asks and connection is not None and len(self._executors) < _ABANDONED:
            self._asks = SideChannel(connection, self._hung.append)
            self._executing = None
            self._stir()

    def _execute(self, command: QueuedAction, asks: SideChannel, control: SideChannel) -> bool:
        """Carry out a command; return whether it has an outcome."""
        try:
            command.result.set(asks.run(command.action))
        except Silence as error:
            gevent.spawn(self._ask_anything, control)
            text = f"{self.link.name}: {error} about a queue (is the node of the queue down?)"
            command.result.set_exception(BrokerUnreachable(text))
        except ResourceError as error:
            # No channel is free, and the connection is as good as before: tried again at once, it would spin.
            command.result.set_exception(BrokerUnreachable(f"{self.link.name}: {error}"))
        except ChannelError as error:
            command.result.set_exception(explain(error, self.link.address).error)
        except (AMQPError, OSError) as error:
            logger.debug("%s: a command waits for the next connection: %s", self.link.name, error)
            return False
        except Exception as error:  # noqa: BLE001  (an action that fails with anything ends as its own error)
            let_through(error)
            command.result.set_exception(error)
        return True

    def _ask_anything(self, control: SideChannel) -> None:
        """Find out whether it is the connection that does not answer."""
        try:
            control.run(ask_anything)
        except Silence:
            self._silences = _ABANDONED
            self._stir()
        except (AMQPError, OSError) as error:
            logger.debug("%s: %s", self.link.name, error)

    # -- how they ended ---------------------------------------------------------------------

    def _on_hung(self, command: SubscriptionCommand, error: Silence) -> None:
        """The broker does not answer: the node of a queue is down, say."""
        if command.wish is None or command.wish.kind is Kind.OWN:
            self._silences += 1
            self._trouble = Unanswered(f"{error} about {_what(command)}", error.seconds)
        channel = self._forget(command.lane)
        if channel is not None:
            channel.abandon()
            self._hung.append(channel)
        self._machine.timed_out(command, monotonic())
        what = _what(command)
        own = command.wish is None or command.wish.kind is Kind.OWN
        logger.warning(
            "%s: %s: %s (is the node of a queue down?); %s",
            self.link.name,
            what,
            error,
            "trying again" if own else "going on without it for now",
            once=(self.link.name, "hung", what),
        )

    def _on_refused(self, command: SubscriptionCommand, error: ChannelError) -> None:
        now, lane = monotonic(), command.lane
        closed = self._is_closed(lane)
        if command.method is Method.CONSUME and self.insists and names_argument(error, _CANCEL):
            # Not a classic queue of RabbitMQ 3: it does not know the argument, nor does it need it.
            self.insists = False
            self._forget(lane)
            self._machine.argument_refused(command, now)
            return
        if closed:
            self._forget(lane)
        self._machine.refused(command, now, missing=is_not_found(error), closed=closed)
        self._on_failed(command, error)

    def _on_failed(self, command: SubscriptionCommand, error: Exception) -> None:
        """Keep the error, and note it where it is not one that is to be expected."""
        kind = None if command.wish is None else command.wish.kind
        if kind in (None, Kind.OWN):
            self._trouble = error
            if not self._ready:
                # Raised by `attach`.
                return
        elif kind is Kind.LABEL and isinstance(error, ChannelError) and is_not_found(error):
            return
        text, what = explain(error, self.link.address).error, _what(command)
        if kind is Kind.OPTIONAL:
            logger.info("%s: doing without %s: %s", self.link.name, what, text, once=(self.link.name, "refused", what))
        else:
            logger.warning("%s: %s: %s", self.link.name, what, text, once=(self.link.name, "refused", what))

    def _is_hanging(self) -> bool:
        """Return whether too many channels wait in vain; the broker closes those whose queue answers after all."""
        self._hung[:] = [channel for channel in self._hung if channel.connection is not None]
        return len(self._hung) >= _ABANDONED

    def _is_closed(self, lane: Lane | None) -> bool:
        if lane is None:
            return False
        channel = self._channels.get(lane)
        return channel is None or channel.connection is None

    def _forget(self, lane: Lane | None) -> ChannelPort | None:
        """Forget the channel of a lane, and return it; nothing that came on it is current any more."""
        channel = None if lane is None else self._channels.pop(lane, None)
        if channel is not None:
            del self._lanes[channel]
            self._prefetches.pop(lane, None)  # type: ignore[arg-type]
            if channel is self._own_channel:
                self._own_channel = None
                self._last_tag = 0
        return channel

    def _forget_channels(self) -> None:
        for lane in list(self._channels):
            self._forget(lane)
        self._closed.clear()

    def _on_closed(self, lane: Lane, error: ChannelError) -> None:
        """The broker closed a channel: what is unacknowledged will be delivered again."""
        # State first: whatever comes of a note, no delivery of the lost channel may count as one of the new one.
        if self._forget(lane) is None:
            return
        queues = ", ".join(repr(wish.queue) for wish in lane.wishes if isinstance(wish, Subscription))
        if lane.busy is None:
            self._machine.channel_closed(lane, monotonic())
        else:
            # The command that is under way on it ends with the error, and tells the machine: also one that has not
            # begun, or has its answer already.
            self._closed[lane] = error
        self._stir()
        text = explain(error, self.link.address).error
        if not is_not_found(error):
            logger.warning(
                "%s: %s; subscribing to %s again", self.link.name, text, queues, once=(self.link.name, "closed", queues)
            )

    def _on_cancelled(self, subscription: Subscription, tag: str) -> None:
        """The broker cancelled the consumer: its queue was deleted, or its node is gone."""
        lane = subscription.lane
        if subscription.tag == tag and lane in self._channels:
            self._channels[lane].consumers.pop(tag, None)
        self._machine.canceled_by_broker(subscription, tag, monotonic())
        self._stir()
        logger.warning(
            "%s: queue %r is gone",
            self.link.name,
            subscription.queue,
            once=(self.link.name, "cancelled", subscription.queue),
        )

    # -- what the machine tells: Ports ------------------------------------------------------

    def settled(self, wish: Subscription, *, missing: bool) -> None:
        """Take note that the queue was found, or found missing."""
        wish.missing = missing
        wish.settled.set()

    def ended(self, wish: Subscription) -> None:
        """Take note that no delivery of it comes any more."""
        wish.cancelled.set()

    def alarm(self, at: float) -> None:
        """Have a turn at this time."""
        if self._connection is None:
            return
        if self._timer is not None:
            self._timer.stop()
            self._timer.close()
        self._timer = get_hub().loop.timer(max(0.0, at - monotonic()))
        self._timer.start(contained, self._stir)


#: States of a wish that has not been tried on this connection.
_FIRST = (State.WANTED, State.DECLARING, State.LOOKING, State.STARTING)


def _look_for(queue: str, channel: ChannelPort) -> None:
    channel.queue_declare(queue, passive=True)


def _give_back(channel: ChannelPort, delivery: IncomingMessage) -> None:
    channel.reject(delivery.delivery_tag, requeue=True)


def _drop(_: IncomingMessage) -> None:
    """Leave a delivery to the end of its channel."""


def _what(command: SubscriptionCommand) -> str:
    return f"queue {command.wish.queue!r}" if isinstance(command.wish, Subscription) else "exchanges and queues"
