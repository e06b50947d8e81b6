"""Serves services until a signal, a refusal of the broker or a change of the code ends it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from types import FrameType

import gevent
from gevent.event import Event

from amphora import BrokerError
from amphora.contrib.django.connections import idle_connections
from amphora.contrib.django.endpoints import LazyServer

__all__ = ["Serving", "Stopped"]

#: Seconds that running requests have when the code has changed; those that take longer run again.
_RELOAD_GRACE = 5.0

#: Signals that stop a server.
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True)
class ServedService:
    """One service that is served.

    Args:
        alias: Its alias in ``AMPHORA``.
        server: Its server.
        queues: Labels whose queues are served too.
        grace: Seconds that running requests have when it stops.
    """

    alias: str
    server: LazyServer
    queues: Sequence[str]
    grace: float


@dataclass(frozen=True)
class Stopped:
    """How serving has ended.

    Args:
        finished: Whether all requests that ran were finished.
        reload: Whether it was ended to be started again.
    """

    finished: bool
    reload: bool = False


class Serving:
    """Serves services in this process.

    Args:
        services: What to serve.
        say: Tells the user something, a line at a time.
    """

    def __init__(self, services: Sequence[ServedService], say: Callable[[str], object]) -> None:
        self._services = services
        self._say = say
        self._end = Event()
        self._why: str | None = None
        self._reload = False
        self._failure: Exception | None = None
        self._stopped = 0
        self._signals = 0

    def run(self) -> Stopped:
        """Serve until the end, and stop warm: take no more requests, and wait for those that run.

        A signal (SIGINT, SIGTERM) is such an end; a second one ends the process at once.

        Returns:
            How it has ended.

        Raises:
            BrokerError: The first connection of a service was refused.
            ValueError: A label's queue is the service's own.
                The note of either says which service it was.
        """
        with self._stopping_on_signals():
            watchers = [gevent.spawn(self._serve, each) for each in self._services]
            self._end.wait()
            finished = self._stop()
            gevent.joinall(watchers)
        if self._failure is not None:
            raise self._failure
        return Stopped(finished, self._reload)

    def reload(self, why: str) -> None:
        """End it, to be started again.

        Args:
            why: A reason for the user.
        """
        self._reload = True
        self._end_because(why)

    def _serve(self, service: ServedService) -> None:
        """Serve one service; returns when it has stopped."""
        try:
            self._serve_until_stopped(service)
        except Exception as error:  # noqa: BLE001  (`run` raises it)
            error.add_note(service.alias)
            self._failure = self._failure or error
            self._end.set()
            return
        self._stopped += 1
        if self._stopped == len(self._services):
            self._end_because("All services have stopped")

    def _serve_until_stopped(self, service: ServedService) -> None:
        server = service.server
        server.serve()
        for label in service.queues:
            server.receive_from_queue(label, block=False)
        if server.wait_connected():
            self._say(f"{service.alias}: {self._queues_of(service)}")
        if not self._end.is_set():
            # From now on only `stop` ends it, which a remote function may call too.
            server.serve(nowait=False)

    def _queues_of(self, service: ServedService) -> str:
        try:
            found = service.server.queue_status()
            if service.queues:
                found |= service.server.queue_status(*service.queues)
        except BrokerError:
            # It broke again already: the log tells of it, and the server connects again.
            return "connected, and disconnected again"
        shown = [
            f"{name} ({'not there yet' if each is None else f'{each.messages} waiting'})"
            for name, each in found.items()
        ]
        return f"taking requests from {', '.join(shown)}"

    def _stop(self) -> bool:
        running = sum(each.server.stats()["running"] for each in self._services)
        if self._why is not None:
            waiting = f"; waiting for {running} running request{'s' * (running != 1)}" if running else ""
            self._say(f"{self._why}{waiting} ...")
        most = _RELOAD_GRACE if self._reload else inf
        ends = [gevent.spawn(each.server.prepare_stop, min(each.grace, most)) for each in self._services]
        gevent.joinall(ends)
        finished = all(end.value for end in ends)
        gevent.joinall([gevent.spawn(each.server.stop) for each in self._services])
        idle_connections.close_all()
        return finished

    def _end_because(self, why: str) -> None:
        self._why = self._why or why
        self._end.set()

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

        # One that is ignored stays so: nohup, or the process that reloads this one, wants it.
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
