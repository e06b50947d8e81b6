"""A server's subscriptions: to its own queue, to its control queue, and to label queues, each of these with its end."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import monotonic

import gevent
from gevent import Timeout
from gevent.event import Event

from amphora.driver.incoming_message import IncomingMessage
from amphora.links.consumer import Consumer
from amphora.links.subscription import Subscription
from amphora.server.introspection import AHEAD, ControlRequests
from amphora.server.receiver import Receiver
from amphora.server.request_handler import RequestHandler

__all__ = ["Receiving"]


class Receiving:
    """Takes requests from where they come, and carries out every `AmqpRpcServer.receive_from_queue`.

    Args:
        consumer: Subscribes.
        handler: Takes the requests.
        queue: Name of the server's own queue.
        control: Takes those that all servers answer; None where this one does not.
        concurrency: Prefetch count of a subscription at most.
        stopped: Set when the server has stopped: nothing is waited for after that.
    """

    def __init__(
        self,
        consumer: Consumer,
        handler: RequestHandler,
        *,
        queue: str,
        control: ControlRequests | None,
        concurrency: int,
        stopped: Event,
    ) -> None:
        self._consumer = consumer
        self._handler = handler
        self._queue = queue
        self._control = control
        self._concurrency = concurrency
        self._stopped = stopped
        self._own: Subscription | None = None
        self._subscriptions: dict[Receiver, Subscription] = {}

    def start(self) -> None:
        """Begin to take requests from the server's own queues; nothing happens where that goes on."""
        if self._own is None:
            prefetch = self._concurrency
            deliver: Callable[[IncomingMessage], None] = self._handler.deliver
            if self._control is not None and self._control.among_others:
                prefetch, deliver = prefetch + AHEAD, self._control.sort_out(deliver)
            self._own = self._consumer.subscribe(self._queue, prefetch=prefetch, deliver=deliver, own=True)
        if self._control is not None:
            self._control.start()

    def end(self, timeout: float) -> None:
        """End every subscription, and wait until the broker has agreed if it is there.

        Args:
            timeout: Seconds to wait at most.
        """
        ending = self.close_all()
        if self._own is not None:
            ending.append(self._own)
            self._consumer.cancel(self._own)
            self._own = None
        control = None if self._control is None else self._control.stop()
        if control is not None:
            ending.append(control)
        if self._consumer.link.established:
            gevent.wait([each.cancelled for each in ending], timeout=timeout)

    def receive(
        self, receiver: Receiver, name: str, *, timeout: float | None, block: bool, wait_for_queue: bool
    ) -> int | None:
        """Take requests from the queue of that name; see `AmqpRpcServer.receive_from_queue`."""
        deadline = None if timeout is None else monotonic() + timeout
        if not self._handler.accepting:
            receiver.close()
        self._subscribe(receiver, name)
        if not wait_for_queue:
            self._insist_on_queue(receiver, name, deadline)
        if not block:
            gevent.spawn(self._finish, receiver, name, deadline)
            return None
        self._finish(receiver, name, deadline)
        if receiver.timed_out and receiver.max_calls is not None and not receiver.reached:
            raise Timeout(timeout)
        return receiver.handled

    def close(self, label: str) -> None:
        """Let every receiver of a label take no more."""
        for receiver in list(self._subscriptions):
            if receiver.queue == label:
                receiver.close()

    def close_all(self) -> list[Subscription]:
        """Let every receiver take no more; return the subscriptions that end with that."""
        ending = list(self._subscriptions.values())
        for receiver in list(self._subscriptions):
            receiver.close()
            self._unsubscribe(receiver)
        return ending

    def _subscribe(self, receiver: Receiver, name: str) -> None:
        self._subscriptions[receiver] = self._consumer.subscribe(
            name,
            prefetch=min(self._concurrency, receiver.max_calls or self._concurrency),
            deliver=partial(self._handler.deliver, receiver=receiver),
            own=False,
        )

    def _unsubscribe(self, receiver: Receiver) -> None:
        subscription = self._subscriptions.pop(receiver, None)
        if subscription is not None:
            self._consumer.cancel(subscription)

    def _insist_on_queue(self, receiver: Receiver, name: str, deadline: float | None) -> None:
        subscription = self._subscriptions[receiver]
        try:
            gevent.wait([subscription.settled, receiver.ended], timeout=_left(deadline), count=1)
        except BaseException:
            self._unsubscribe(receiver)
            raise
        if subscription.missing:
            self._unsubscribe(receiver)
            raise ValueError(f"queue {name!r} (label {receiver.queue!r}) does not exist")

    def _finish(self, receiver: Receiver, name: str, deadline: float | None) -> None:
        """Wait until a receiver has taken enough, or its time is over, and has finished that."""
        try:
            while True:
                if not receiver.ended.wait(_left(deadline)):
                    receiver.timed_out = True
                    receiver.close()
                self._unsubscribe(receiver)
                gevent.wait([receiver.quiet, self._stopped], count=1)
                if receiver.closed or receiver.reached or self._stopped.is_set():
                    return
                # A request that it had taken was lost to a reconnect before it was run.
                self._subscribe(receiver, name)
        finally:
            receiver.close()
            self._unsubscribe(receiver)


def _left(deadline: float | None) -> float | None:
    """Return the seconds until a deadline."""
    return None if deadline is None else max(0.0, deadline - monotonic())
