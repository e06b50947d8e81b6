"""Serves servers in this process until a signal, a refusal of the broker or the program itself ends it."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from types import FrameType
from typing import Any

import gevent
from gevent.event import Event

from amphora.exceptions import BrokerError, BrokerUnreachable
from amphora.server.server import AmqpRpcServer

__all__ = ["Serving", "run_servers"]

logger = logging.getLogger(__name__)

#: Signals that stop it.
_SIGNALS = (signal.SIGINT, signal.SIGTERM)

#: Seconds after the first signal for which a SIGTERM counts as the same one: where a whole process group is told to
#: stop, a parent that passes signals on (a supervisor, Django's autoreload) sends it once more.
_SAME_SIGNAL = 1.0


def run_servers(*servers: AmqpRpcServer, grace: float | None = 30.0) -> bool:
    """Serve until SIGTERM or SIGINT (Ctrl-C), and stop warm: what a program that only serves ends with.

    ::

        server = AmqpRpcServer("math")
        ...
        run_servers(server)

    At the signal, the servers take no more requests, and those that run are waited for. A second signal ends the
    process at once (with status 128 + its number): what was running goes back to its queue, for another server. A
    SIGTERM within a second of the first signal does not count, as a parent may pass on what reached the whole process
    group. A server that a function stops does not end the others; when all are stopped, it ends. What goes on is in
    the log, at INFO.

    Args:
        servers: What to serve. They need not be connected.
        grace: Seconds that running requests have at the end; None for no limit.

    Returns:
        Whether all requests that ran were finished. The others go back to their queues.

    Raises:
        BrokerError: The first connection of a server was refused; the others are stopped. A broker that is merely not
            there yet is waited for.
        ValueError: It is not called in the main thread, or without a server.
    """
    serving = Serving()
    for server in servers:
        serving.add(server, grace=grace)
    return serving.run()


@dataclass(frozen=True)
class _Served:
    """One server that is served; see `Serving.add`."""

    server: Any
    name: str
    labels: Sequence[str]
    grace: float | None


class Serving:
    """Serves servers until it is ended, as `run_servers` does, for programs that want more of it.

    Args:
        say: Told what goes on, a line at a time; by default it is logged at INFO.
        on_ready: Called once all servers take requests.
        forwarded: Number of a further signal, by which a process that started this one passes on the SIGINT or SIGTERM
            that it has got itself. A signal that both processes get, as the whole group does, counts once then.

    Attributes:
        failed: Name of the server whose error `run` has raised; None where there is none.
    """

    def __init__(
        self,
        say: Callable[[str], object] = logger.info,
        on_ready: Callable[[], object] | None = None,
        *,
        forwarded: int | None = None,
    ) -> None:
        self.failed: str | None = None
        self._say = say
        self._on_ready = on_ready
        self._served: list[_Served] = []
        self._end = Event()
        self._why: str | None = None
        self._most: float | None = None
        self._failure: Exception | None = None
        self._ready = 0
        self._stopped: list[_Served] = []
        self._signals = self._forwards = 0
        self._signaled_at = 0.0
        self._forwarded = forwarded

    def add(
        self, server: Any, *, labels: Sequence[str] = (), grace: float | None = 30.0, name: str | None = None
    ) -> None:
        """Add a server to serve, before `run`.

        Args:
            server (AmqpRpcServer): The server, or what stands for one in Django and Celery.
            labels: Labels whose queues it serves too.
            grace: Seconds that its running requests have at the end; None for no limit.
            name: What people know it by; by default the name of the service.
        """
        self._served.append(_Served(server, name or server.service_name, tuple(labels), grace))

    def run(self) -> bool:
        """Serve until the end, and stop warm: take no more requests, and wait for those that run.

        SIGINT and SIGTERM are such an end, unless they are ignored; a second one ends the process at once, see
        `run_servers`. May be called once, in the main thread.

        Returns:
            Whether all requests that ran were finished.

        Raises:
            BrokerError: The first connection of a server was refused.
            ValueError: A label's queue is the service's own. Or this is not the main thread, or nothing was added.
        """
        if not self._served:
            raise ValueError("there is no server to serve")
        with self._stopping_on_signals():
            watchers = [gevent.spawn(self._serve, each) for each in self._served]
            self._end.wait()
            finished = self._stop()
            gevent.joinall(watchers)
        if self._failure is not None:
            raise self._failure
        return finished

    def end(self, why: str, *, grace: float | None = None) -> None:
        """End it, from any greenlet.

        Args:
            why: A reason for people.
            grace: Seconds that running requests have at most, where theirs would be more.
        """
        self._why = self._why or why
        if grace is not None:
            self._most = grace
        self._end.set()

    def _serve(self, served: _Served) -> None:
        """Serve one server; returns when it has stopped."""
        try:
            self._serve_until_stopped(served)
        except Exception as error:  # noqa: BLE001  (`run` raises it)
            if self._failure is None:
                self._failure, self.failed = error, served.name
            self._end.set()
            return
        self._stopped.append(served)
        if len(self._stopped) == len(self._served):
            self.end("all servers have stopped")

    def _serve_until_stopped(self, served: _Served) -> None:
        server = served.server
        server.serve()
        for label in served.labels:
            server.receive_from_queue(label, block=False)
        if server.wait_connected():
            queues = _queues_of(served)
            if not self._end.is_set():
                self._tell_ready(served, queues)
        # A remote function may stop it too.
        server.wait_stopped()

    def _tell_ready(self, served: _Served, queues: str) -> None:
        self._say(f"{served.name}: ready, {queues}")
        self._ready += 1
        if self._ready == len(self._served) and self._on_ready is not None:
            self._on_ready()

    def _stop(self) -> bool:
        running = sum(each.server.stats()["running"] for each in self._served)
        if self._why is not None:
            waiting = f"; waiting for {running} running request{'s' * (running != 1)}" if running else ""
            self._say(f"{self._why}{waiting}")
        ends = [gevent.spawn(each.server.prepare_stop, self._grace_of(each)) for each in self._served]
        gevent.joinall(ends)
        finished = all(end.value for end in ends)
        gevent.joinall([gevent.spawn(each.server.stop) for each in self._served])
        return finished

    def _grace_of(self, served: _Served) -> float | None:
        if served in self._stopped:
            # What a stopped server has not replied to goes back to its queue: nothing is to be waited for.
            return 0.0
        given = [each for each in (served.grace, self._most) if each is not None]
        return min(given, default=None)

    @contextmanager
    def _stopping_on_signals(self) -> Iterator[None]:
        # Python runs a signal's function in whatever greenlet is running, which must not be the one to switch.
        wake = gevent.get_hub().loop.async_()
        wake.start(self._end.set)

        def on_signal(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  (as `signal` calls it)
            now = monotonic()
            if number == self._forwarded:
                number = signal.SIGTERM
                self._forwards += 1
            elif (
                self._forwarded is None
                and number == signal.SIGTERM
                and self._signals
                and now - self._signaled_at < _SAME_SIGNAL
            ):
                return
            else:
                self._signals += 1
                self._signaled_at = now
            if max(self._signals, self._forwards) > 1:
                # A function that never lets go of the processor would keep anything gentler from happening.
                os.write(2, b"Stopped at once: requests that were running go back to their queues.\n")
                os._exit(128 + number)
            self._why = f"{signal.Signals(number).name}: stopping (again to stop at once)"
            wake.send()

        # One that is ignored stays so: nohup, or a process that is to outlive Ctrl-C, wants it.
        numbers = _SIGNALS if self._forwarded is None else (*_SIGNALS, self._forwarded)
        before = {number: signal.getsignal(number) for number in numbers}
        try:
            for number, handler in before.items():
                if handler != signal.SIG_IGN:
                    signal.signal(number, on_signal)
            yield
        finally:
            wake.stop()
            wake.close()
            for number, handler in before.items():
                if handler != signal.SIG_IGN:
                    signal.signal(number, handler)


def _queues_of(served: _Served) -> str:
    try:
        own, *dead_letters = served.server.queue_status().items()
        labels = served.server.queue_status(*served.labels).items() if served.labels else ()
    except BrokerUnreachable as error:
        if not error.unanswered or not served.server.connected:
            return "but disconnected again"
        return f"but the broker does not answer about {', '.join(error.unanswered)} (is the node of the queue down?)"
    except BrokerError:
        # It broke again already: the log tells of it, and the server connects again.
        return "but disconnected again"
    shown = [
        f"{name} ({'not there yet' if each is None else f'{each.messages} waiting'})" for name, each in (own, *labels)
    ]
    kept = [f"; dead letters: {each.messages} in {name}" for name, each in dead_letters if each and each.messages]
    return f"taking requests from {', '.join(shown)}{''.join(kept)}"
