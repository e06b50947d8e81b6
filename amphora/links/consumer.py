"""Subscriptions to queues: consume, cancel, acknowledge, and take up again after a loss.

All subscriptions of an endpoint share one channel, as channels are scarce; the prefetch count is per
consumer (`basic.qos` with global off). Source: https://www.rabbitmq.com/docs/consumer-prefetch.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from itertools import count
from time import monotonic
from typing import Any

from amqp.exceptions import ChannelError
from gevent import get_hub
from gevent.event import AsyncResult
from kombu import Queue

from amphora.interrupts import contained
from amphora.links.connection import Link
from amphora.links.control import Command, ControlChannel, is_not_found
from amphora.links.delivery import Delivery
from amphora.links.faults import explain
from amphora.links.subscription import Subscription
from amphora.links.topology import Topology, create_queue
from amphora.settings import LinkSettings

__all__ = ["Consumer"]

logger = logging.getLogger(__name__)

#: Seconds after which the topology is declared again, in case that somebody deleted a part of it, where
#: there is no heartbeat to go by.
_CHECK = 30.0

#: Has the broker cancel a consumer whose classic queue is gone, always. Otherwise, where the queue is
#: declared again at once, RabbitMQ 3 keeps the consumer without a word and sends it nothing more (it takes
#: the new queue for a mirror of the old one). Source: https://www.rabbitmq.com/docs/3.13/ha#cancellation.
_CANCEL = "x-cancel-on-ha-failover"


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
        self.on_suspect: Callable[[Delivery], None] | None = None
        self._topology = topology
        self._ack_on_delivery = ack_on_delivery
        self._connection: Any = None
        self._channel: Any = None
        self._control: Any = None
        self._tags = count(1)
        # Used as ordered sets.
        self._subscriptions: dict[Subscription, None] = {}
        self._missing: dict[Subscription, None] = {}
        self._changed: list[Subscription] = []
        self._commands: list[Command] = []
        self._last_tag = 0
        self._prefetch: int | None = None
        self._check_interval = settings.heartbeat or _CHECK
        self._check: Any = None
        self._alarm: Any = None
        self._reopen = False
        self._redeclare = False
        self._insists = insists

    # -- for anyone -------------------------------------------------------------------------

    def subscribe(
        self,
        queue: str,
        *,
        prefetch: int,
        deliver: Callable[[Delivery], None],
        own: bool,
        optional: Queue | None = None,
    ) -> Subscription:
        """Begin to consume from a queue; see `Subscription`."""
        subscription = Subscription(queue, prefetch, deliver, own=own, optional=optional)
        self._subscriptions[subscription] = None
        self._change(subscription)
        return subscription

    def cancel(self, subscription: Subscription) -> None:
        """End a subscription; ``subscription.cancelled`` is set when the broker has agreed."""
        if subscription in self._subscriptions:
            del self._subscriptions[subscription]
            self._missing.pop(subscription, None)
            self._change(subscription)

    def ack(self, delivery: Delivery) -> None:
        """Acknowledge a delivery; one of an earlier connection is left to its redelivery."""
        if delivery.channel is self._channel:
            delivery.channel.ack(delivery.delivery_tag)

    def reject(self, delivery: Delivery, *, requeue: bool) -> None:
        """Give a delivery back to its queue, or drop it (or dead-letter it)."""
        if delivery.channel is self._channel:
            delivery.channel.reject(delivery.delivery_tag, requeue=requeue)

    def is_current(self, delivery: Delivery) -> bool:
        """Tell whether a delivery can still be acknowledged."""
        return delivery.channel is self._channel

    @property
    def consuming(self) -> bool:
        """Whether the broker delivers from every queue of the topology that is subscribed to."""
        own = [each for each in self._subscriptions if each.own]
        return bool(own) and self._channel is not None and all(each.tag is not None for each in own)

    def run(self, action: Callable[[Any], Any]) -> AsyncResult[Any]:
        """Do something on the control channel, as soon as the connection is up.

        Args:
            action: Takes the channel; runs in the owner's greenlet, again if the connection broke in the middle.

        Returns:
            Its result, or the `BrokerError` that the broker refused it with.
        """
        command = Command(action)
        self._commands.append(command)
        self.link.wake()
        return command.result

    def drop(self, result: AsyncResult[Any]) -> None:
        """Nobody waits for this result of `run` any more."""
        self._commands = [each for each in self._commands if each.result is not result]

    def check_topology(self) -> None:
        """Declare the topology again soon: something of it may have been deleted."""
        self._redeclare = True
        self.link.wake()

    def _change(self, subscription: Subscription) -> None:
        self._changed.append(subscription)
        self.link.wake()

    # -- the owner's greenlet: Worker -------------------------------------------------------

    def attach(self, connection: Any) -> None:
        """Declare the topology and take up every subscription; see `Worker`."""
        self._connection = connection
        self._control = ControlChannel(connection)
        self._open()
        self._check = get_hub().loop.timer(self._check_interval, self._check_interval)
        self._check.start(contained, self.check_topology)

    def work(self) -> None:
        """Acknowledge, subscribe, cancel; see `Worker`."""
        if self._last_tag and self._channel is not None:
            self._channel.ack(self._last_tag, multiple=True)
            self._last_tag = 0
        if self._reopen:
            self._open()
        if self._redeclare:
            self._redeclare = False
            self._control.run(self._topology.declare)
        if self._changed:
            self._apply_changes()
        while self._commands:
            self._execute(self._commands[0])

    def detach(self) -> None:
        """Forget the connection; see `Worker`."""
        self._stop_timers()
        self._connection = self._channel = self._control = None
        self._last_tag = 0
        for subscription in self._changed:
            if subscription not in self._subscriptions:
                subscription.cancelled.set()
        self._changed.clear()
        for subscription in self._subscriptions:
            subscription.tag = None
            subscription.refused = False

    def finish(self) -> None:
        """Close the channel, which makes the broker take every acknowledgement; see `Worker`."""
        self.work()
        self._stop_timers()
        # Deliveries that are still on their way belong to others from here on.
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()

    # -- channels ---------------------------------------------------------------------------

    def _open(self) -> None:
        self._reopen = False
        self._control.run(self._topology.declare)
        channel = self._connection.channel()
        channel.on_closed = self._on_closed
        channel.on_suspect = self.on_suspect
        self._channel = channel
        self._prefetch = None
        # After those that were cancelled meanwhile: somebody may wait for their end.
        self._changed += self._subscriptions
        self._apply_changes()

    def _on_closed(self, error: ChannelError) -> None:
        """The broker closed the channel: what is unacknowledged will be delivered again."""
        fault = explain(error, self.link.address)
        logger.warning("%s: %s; subscribing again", self.link.name, fault.error)
        self._lose_channel()

    def _lose_channel(self) -> None:
        """Open another channel soon."""
        self._channel = None
        self._last_tag = 0
        self._reopen = True
        for subscription in (*self._subscriptions, *self._changed):
            subscription.tag = None
        self.link.wake()

    def _execute(self, command: Command) -> None:
        # It stays the first while it runs: where the connection breaks (any other error), it is for the next one.
        try:
            value = self._control.run(command.action)
        except ChannelError as error:
            command.result.set_exception(explain(error, self.link.address).error)
        else:
            command.result.set(value)
        self.drop(command.result)

    # -- subscriptions ----------------------------------------------------------------------

    def _apply_changes(self) -> None:
        now, changed = monotonic(), self._changed[:]
        self._changed.clear()
        for subscription in changed:
            if subscription not in self._subscriptions:
                self._cancel(subscription)
            elif self._channel is None:
                # Lost on the way: the next one takes up every subscription.
                continue
            elif subscription.tag is None and subscription.look_at <= now and not subscription.refused:
                self._consume(subscription)
        self._set_alarm()

    def _consume(self, subscription: Subscription) -> None:
        try:
            if subscription.optional is not None:
                self._control.run(partial(create_queue, subscription.optional))
            elif not subscription.own:
                self._control.run(partial(_look_for, subscription.queue))
            self._start(subscription)
        except ChannelError as error:
            if self._insists and _CANCEL in str(error):
                # Not a classic queue of RabbitMQ 3: it does not know the argument, nor does it need it.
                self._insists = False
                self._lose_channel()
                return
            if subscription.own:
                raise
            if subscription.optional is not None:
                self._do_without(subscription, error)
                return
            if not is_not_found(error):
                fault = explain(error, self.link.address)
                logger.warning("%s: %r: %s", self.link.name, subscription.queue, fault.error)
            if self._channel.connection is None:
                # The queue went away between the look and the consume.
                self._on_closed(error)
            subscription.look_later()
            self._missing[subscription] = None
        else:
            subscription.found()
            self._missing.pop(subscription, None)
        subscription.settled.set()

    def _do_without(self, subscription: Subscription, error: ChannelError) -> None:
        """The broker refuses a queue that may be done without."""
        fault = explain(error, self.link.address)
        logger.info("%s: doing without queue %r: %s", self.link.name, subscription.queue, fault.error)
        subscription.refused = True
        subscription.settled.set()
        if self._channel is not None and self._channel.connection is None:
            self._lose_channel()

    def _start(self, subscription: Subscription) -> None:
        channel, tag = self._channel, f"amphora-{next(self._tags)}"
        channel.consumers[tag] = self._acking(subscription) if self._ack_on_delivery else subscription.deliver
        if subscription.prefetch != self._prefetch:
            # Holds for the consumers that are started after it on this channel.
            channel.basic_qos(0, subscription.prefetch, False)
            self._prefetch = subscription.prefetch
        channel.basic_consume(
            subscription.queue,
            consumer_tag=tag,
            arguments={_CANCEL: True} if self._insists else None,
            on_cancel=lambda _: self._on_cancelled(subscription),
        )
        subscription.tag = tag

    def _acking(self, subscription: Subscription) -> Callable[[Delivery], None]:
        def deliver(delivery: Delivery) -> None:
            subscription.deliver(delivery)
            self._last_tag = delivery.delivery_tag

        return deliver

    def _cancel(self, subscription: Subscription) -> None:
        tag, subscription.tag = subscription.tag, None
        if tag is not None and self._channel is not None:
            self._channel.basic_cancel(tag)
            if self._channel is not None:
                self._channel.consumers.pop(tag, None)
        subscription.cancelled.set()

    def _on_cancelled(self, subscription: Subscription) -> None:
        """The broker cancelled the consumer: its queue was deleted, or its node is gone."""
        logger.warning("%s: queue %r is gone", self.link.name, subscription.queue)
        if self._channel is not None:
            self._channel.consumers.pop(subscription.tag, None)
        subscription.tag = None
        subscription.look_at = 0.0
        if subscription.own:
            self._redeclare = True
        if subscription in self._subscriptions:
            self._changed.append(subscription)

    def _set_alarm(self) -> None:
        """Wake up when the next missing queue is to be looked for."""
        self._stop_alarm()
        if self._missing:
            delay = max(0.0, min(each.look_at for each in self._missing) - monotonic())
            self._alarm = get_hub().loop.timer(delay)
            self._alarm.start(contained, self._look_again)

    def _look_again(self) -> None:
        self._changed += self._missing
        self.link.wake()

    def _stop_timers(self) -> None:
        self._stop_alarm()
        if self._check is not None:
            self._check.stop()
            self._check.close()
            self._check = None

    def _stop_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.stop()
            self._alarm.close()
            self._alarm = None


def _look_for(queue: str, channel: Any) -> None:
    channel.queue_declare(queue, passive=True)
