"""Keeps a number of processes running: replaces those that die, and restarts all of them when files change."""

from __future__ import annotations

import os
import random
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from time import monotonic
from types import FrameType

import gevent
from gevent.event import Event
from gevent.subprocess import Popen, TimeoutExpired

from amphora.cli.supervisor_pipe import FD_VARIABLE

__all__ = ["SLOT_VARIABLE", "Supervisor", "child_command"]

#: Environment variable of each process: its number, from 0, which one that replaces it takes over.
SLOT_VARIABLE = "AMPHORA_SERVE_SLOT"

#: Seconds before a process that has died is replaced: after the first death, and the most.
_SOON, _LATE = 0.2, 30.0

#: A process that took requests for so many seconds has lived: its death is the first again.
_STEADY = 10.0

#: Seconds beyond the grace period after which a process that does not end is killed.
_PATIENCE = 15.0


class Supervisor:
    """Keeps processes running until a signal ends them all.

    Args:
        command: Command line of each process.
        env: Environment variables on top of this process's.
        processes: How many.
        grace: Seconds that each takes to stop, at most; after some more it is killed.
        waits_for_change: Whether a process that has failed is started again only by `restart`.
        say: Tells the user something, a line at a time.
    """

    def __init__(
        self,
        command: Sequence[str],
        env: Mapping[str, str],
        *,
        processes: int,
        grace: float,
        waits_for_change: bool,
        say: Callable[[str], object],
    ) -> None:
        self._command = list(command)
        self._env = {**os.environ, **env}
        self._processes = processes
        self._grace = grace
        self._waits_for_change = waits_for_change
        self._say = say
        self._children: dict[int, Popen[bytes]] = {}
        self._ever_ready = False
        self._stop = Event()
        self._changed = Event()
        self._signals: list[int] = []
        self._status = 0
        self._restarting: set[int] = set()

    def run(self) -> int:
        """Run the processes until the end.

        Returns:
            The exit status: 0 where all have stopped well, else that of one which has not.
        """
        wake = gevent.get_hub().loop.async_()
        wake.start(self._on_wake)

        def on_signal(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  (as `signal` calls it)
            self._signals.append(number)
            wake.send()

        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        for number, handler in before.items():
            if handler != signal.SIG_IGN:
                signal.signal(number, on_signal)
        try:
            gevent.joinall([gevent.spawn(self._keep, slot) for slot in range(self._processes)])
        finally:
            wake.stop()
            wake.close()
            for number, handler in before.items():
                signal.signal(number, handler)
            # Whatever ended this: nothing that it has started stays behind.
            for child in self._children.values():
                with suppress(ProcessLookupError):
                    child.kill()
        return self._status

    def restart(self, why: str) -> None:
        """Stop the processes, warm, and start them again.

        Args:
            why: A reason for the user.
        """
        if self._stop.is_set():
            return
        self._say(f"{why}: restarting")
        self._changed.set()
        for child in list(self._children.values()):
            if child.pid not in self._restarting:
                self._restarting.add(child.pid)
                self._send(child, signal.SIGTERM)
                gevent.spawn(self._kill_later, child)

    def _on_wake(self) -> None:
        """Pass signals on; called in the hub, which must not wait."""
        while self._signals:
            number = self._signals.pop(0)
            if self._stop.is_set() and self._status == 0:
                self._status = 128 + number
            self._stop.set()
            for child in list(self._children.values()):
                self._send(child, number)
                gevent.spawn(self._kill_later, child)

    def _keep(self, slot: int) -> None:
        """Keep one process running."""
        deaths = 0
        while not self._stop.is_set():
            self._changed.clear()
            try:
                ready_at, status, pid = self._run_one(slot)
            except Exception as error:  # noqa: BLE001  (one error must not leave this process out for good)
                # The machine has no memory or no process ids left: that may pass.
                deaths += 1
                self._wait_before_another(f"a process cannot be started: {error}", deaths)
                continue
            if pid in self._restarting:
                self._restarting.discard(pid)
                deaths = 0
                continue
            if self._stop.is_set():
                self._ended(status)
                return
            if status == 0:
                # Its functions have stopped it, which is no failure; nor does it want to be run again.
                self._say(f"process {pid} has ended")
                return
            if self._waits_for_change:
                self._say(f"process {pid} {_how(status)}; waiting for a change of the code")
                gevent.wait([self._changed, self._stop], count=1)
                continue
            if not self._ever_ready and status in (2, 4):
                # Wrong arguments, or the broker refuses: another attempt has the same end.
                self._give_up(status)
                return
            if ready_at is not None and monotonic() - ready_at >= _STEADY:
                deaths = 0
            deaths += 1
            self._wait_before_another(f"process {pid} {_how(status)}", deaths)

    def _wait_before_another(self, why: str, deaths: int) -> None:
        delay = min(_LATE, _SOON * 2.0 ** min(deaths - 1, 30)) * random.uniform(0.75, 1.0)  # noqa: S311  (jitter)
        self._say(f"{why}; starting another in {delay:.1f} s")
        self._stop.wait(delay)

    def _run_one(self, slot: int) -> tuple[float | None, int, int]:
        """Start a process and wait for its end.

        Returns:
            When it was ready (`time.monotonic`), if ever; how it ended; its id.
        """
        ours, its = socket.socketpair()
        with ours:
            with its:
                child = Popen(
                    self._command,
                    env={**self._env, FD_VARIABLE: str(its.fileno()), SLOT_VARIABLE: str(slot)},
                    pass_fds=(its.fileno(),),
                    # A terminal's Ctrl-C is for this process, which passes it on.
                    start_new_session=True,
                )
            self._children[child.pid] = child
            moments: list[float] = []
            listener = gevent.spawn(self._listen, ours, moments)
            if self._stop.is_set():
                self._send(child, signal.SIGTERM)
                gevent.spawn(self._kill_later, child)
            status = int(child.wait())
            del self._children[child.pid]
            listener.kill()
        return (moments[0] if moments else None), status, int(child.pid)

    def _listen(self, line: socket.socket, moments: list[float]) -> None:
        try:
            ready = line.recv(1)
        except OSError:
            # It has ended with something unread: as good as the end of the file.
            return
        if ready:
            self._ever_ready = True
            moments.append(monotonic())

    def _kill_later(self, child: Popen[bytes]) -> None:
        try:
            child.wait(self._grace + _PATIENCE)
        except TimeoutExpired:
            self._say(f"process {child.pid} does not end: killing it")
            self._send(child, signal.SIGKILL)

    def _give_up(self, status: int) -> None:
        self._status = self._status or status
        self._stop.set()
        for child in list(self._children.values()):
            self._send(child, signal.SIGTERM)
            gevent.spawn(self._kill_later, child)

    def _ended(self, status: int) -> None:
        if status != 0 and self._status == 0:
            # One that the signal met before it could handle it had nothing to finish.
            self._status = 0 if status in (-signal.SIGTERM, -signal.SIGINT) else _as_exit_status(status)

    @staticmethod
    def _send(child: Popen[bytes], number: int) -> None:
        with suppress(ProcessLookupError):
            child.send_signal(number)


def _as_exit_status(status: int) -> int:
    return status if status >= 0 else 128 - status


def _how(status: int) -> str:
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"


def child_command(arguments: Sequence[str]) -> list[str]:
    """Return the command line of a process that runs the `amphora` command with these arguments."""
    return [sys.executable, "-m", "amphora", *arguments]
