"""Run Python programs as child processes, and wait for what they say."""

import os
import re
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO

import gevent
from gevent.event import Event
from gevent.subprocess import DEVNULL, PIPE, STDOUT, Popen, TimeoutExpired

from tests.support.die_with_parent import lead_session_and_die_with_parent
from tests.support.freezing import freeze
from tests.support.wrongs import note_output

ROOT = Path(__file__).parents[2]


class Program:
    """A Python program that runs in a process of its own, with what it writes (both streams) kept by line.

    It starts at once, leads a process group, and ends with `close()`, or with this process.
    """

    def __init__(self, *arguments: object, env: Mapping[str, str] | None = None) -> None:
        """Start `python *arguments`: a script's path (from the project's root) or `"-c", source`, and what it takes.

        Args:
            arguments: turned into strings.
            env: environment variables on top of this process's.
        """
        self.name = " ".join(str(argument).strip().partition("\n")[0] for argument in arguments)
        self.lines: list[str] = []
        self._searched: dict[str, int] = {}
        self._written = Event()
        self._process = Popen(
            [sys.executable, *map(str, arguments)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **(env or {})},
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=STDOUT,
            preexec_fn=lead_session_and_die_with_parent,
        )
        assert self._process.stdout is not None
        self._reader = gevent.spawn(self._read, self._process.stdout)

    def __str__(self) -> str:
        state = "running" if self.running else f"ended with {self.returncode}"
        return f"python {self.name} (process {self.pid}, {state})"

    def __enter__(self) -> "Program":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The process id, which is the id of the process group too."""
        return int(self._process.pid)

    @property
    def returncode(self) -> int | None:
        """What it ended with: its exit code, minus the signal that ended it, or None while it runs."""
        code: int | None = self._process.poll()
        return code

    @property
    def running(self) -> bool:
        """Whether it has not ended (it may be paused)."""
        return self.returncode is None

    @property
    def output(self) -> str:
        """All that it wrote so far."""
        return "\n".join(self.lines)

    def wait_for_line(self, pattern: str, timeout: float = 20.0) -> re.Match[str]:
        """Wait for a line in which the regular expression `pattern` is found.

        Lines written before the call count, each once for each pattern: the second call with one pattern
        waits for the second such line.

        Raises:
            AssertionError: no such line within `timeout` seconds, or before the program ended.
        """
        deadline = time.monotonic() + timeout
        while True:
            # Before the lines are looked at: one that comes in between ends the wait below.
            self._written.clear()
            ended = self._reader.dead
            match = self._next_match(pattern)
            if match is not None:
                return match
            if ended:
                raise AssertionError(f"{self} wrote no line with {pattern!r}; it wrote:\n{self.output}")
            if not self._written.wait(max(0.0, deadline - time.monotonic())):
                raise AssertionError(f"{self} wrote no {pattern!r} within {timeout:g} s; it wrote:\n{self.output}")

    def wait(self, timeout: float = 20.0) -> int:
        """Wait for the end of the program and of its output.

        Returns:
            What it ended with, as `returncode`.

        Raises:
            AssertionError: it still ran after `timeout` seconds.
        """
        try:
            code: int = self._process.wait(timeout)
        except TimeoutExpired:
            raise AssertionError(f"{self} did not end within {timeout:g} s; it wrote:\n{self.output}") from None
        # A child of its own may hold the output open for longer.
        self._reader.join(timeout=1.0)
        return code

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the program alone."""
        if self.running:
            os.kill(self.pid, number)

    def terminate(self, timeout: float = 20.0) -> int:
        """Ask it to end (SIGTERM), wait until it does, and return what it ended with."""
        self.send_signal(signal.SIGTERM)
        return self.wait(timeout)

    def kill(self) -> None:
        """Kill it, with all processes of its group (`kill -9`), and wait until it is gone."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.wait()

    def pause(self) -> None:
        """Freeze it: its connections stay open and it does nothing."""
        freeze(self.pid)

    def resume(self) -> None:
        """Let it go on after `pause`."""
        self.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Kill what still runs of it and give its output's pipe back."""
        self.kill()
        self._reader.kill()
        note_output(self.name, self.lines)

    def _read(self, output: IO[bytes]) -> None:
        try:
            for line in output:
                self.lines.append(line.decode(errors="replace").rstrip("\n"))
                self._written.set()
        finally:
            # Whoever waits for a line learns that no more will come.
            self._written.set()
            output.close()

    def _next_match(self, pattern: str) -> re.Match[str] | None:
        for index in range(self._searched.get(pattern, 0), len(self.lines)):
            self._searched[pattern] = index + 1
            match = re.search(pattern, self.lines[index])
            if match is not None:
                return match
        return None
