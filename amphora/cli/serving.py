"""Serves servers in this process until a signal, the broker's refusal or the end of the parent ends it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import gevent
from gevent.event import Event

from amphora import AmqpRpcServer, BrokerError

__all__ = ["Serving"]

#: Signals that stop it.
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Serving:
    """Serves servers in this process.

    Args:
        servers: What to serve.
        labels: Labels whose queues are served too, by the first server.
        grace: Seconds that running requests have at the end.
        say: Tells the user something, a line at a time.
        on_ready: Called once all servers take requests.
    """

    def __init__(
        self,
        servers: Sequence[AmqpRpcServer],
        *,
        labels: Sequence[str],
        grace: float,
        say: Callable[[str], object],
        on_ready: Callable[[], object],
    ) -> None:
        self._servers = servers
        self._labels = labels
        self._grace = grace
        self._say = say
        self._on_ready = on_ready
        self._end = Event()
        self._why: str | None = None
        self._failure: BrokerError | ValueError | None = None
        self._ready = 0
        self._signals = 0

    def run(self) -> bool:
        """Serve until the end, and stop warm: take no more requests, and wait for those that run.

        SIGINT and SIGTERM are such an end; a second one ends the process at once.

        Returns:
            Whether all requests that ran were finished.

        Raises:
            BrokerError: The first connection of a server was refused.
            ValueError: The label's queue is the service's own.
        """
        with self._stopping_on_signals():
            watchers = [gevent.spawn(self._serve, each) for each in self._servers]
            self._end.wait()
            finished = self._stop()
            gevent.joinall(watchers)
        if self._failure is not None:
            raise self._failure
        return finished

    def end(self, why: str) -> None:
        """End it.

        Args:
            why: A reason for the user.
        """
        self._why = self._why or why
        self._end.set()

    def _serve(self, server: AmqpRpcServer) -> None:
        """Serve one server; returns when it has stopped."""
        try:
            server.serve()
            for label in self._labels:
                server.receive_from_queue(label, block=False)
            server.wait_connected()
        except (BrokerError, ValueError) as error:
            self._failure = self._failure or error
            self._end.set()
            return
        if server.connected:
            self._say(f"{server.service_name}: ready, {self._queues_of(server)}")
            self._ready += 1
            if self._ready == len(self._servers):
                self._on_ready()
        # From now on only `stop` ends it, which a remote function may call too.
        server.serve(nowait=False)
        if all(not each.connected for each in self._servers):
            self.end("all servers have stopped")

    def _queues_of(self, server: AmqpRpcServer) -> str:
        try:
            found = server.queue_status()
            if self._labels:
                found |= server.queue_status(*self._labels)
        except BrokerError:
            # It broke again already: the log tells of it, and the server connects again.
            return "but disconnected again"
        shown = [
            f"{name} ({'not there yet' if each is None else f'{each.messages} waiting'})"
            for name, each in found.items()
        ]
        return f"queue{'s' * (len(shown) > 1)} {', '.join(shown)}"

    def _stop(self) -> bool:
        running = sum(each.stats()["running"] for each in self._servers)
        if self._why is not None:
            waiting = f"; waiting for {running} running request{'s' * (running != 1)}" if running else ""
            self._say(f"{self._why}{waiting}")
        ends = [gevent.spawn(each.prepare_stop, self._grace) for each in self._servers]
        gevent.joinall(ends)
        finished = all(end.value for end in ends)
        gevent.joinall([gevent.spawn(each.stop) for each in self._servers])
        return finished

    @contextmanager
    def _stopping_on_signals(self) -> Iterator[None]:
        # Python runs a signal's function in whatever greenlet is running, which must not be the one to switch.
        wake = gevent.get_hub().loop.async_()
        wake.start(self._end.set)

        def on_signal(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  (as `signal` calls it)
            self._signals += 1
            if self._signals > 1:
                # A function that never lets go of the processor would keep anything gentler from happening.
                os.write(2, b"Stopped at once: requests that were running go back to their queues.\n")
                os._exit(128 + number)
            self._why = f"{signal.Signals(number).name}: stopping (again to stop at once)"
            wake.send()

        # One that is ignored stays so: nohup wants it.
        before = {number: signal.getsignal(number) for number in _SIGNALS}
        for number, handler in before.items():
            if handler != signal.SIG_IGN:
                signal.signal(number, on_signal)
        try:
            yield
        finally:
            wake.stop()
            wake.close()
            for number, handler in before.items():
                signal.signal(number, handler)
