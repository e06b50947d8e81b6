"""Run a program on a pseudo terminal, type to it, and wait for what it shows."""

import fcntl
import os
import re
import struct
import termios
import time
from collections.abc import Mapping, Sequence
from typing import Self

import gevent
from gevent.event import Event
from gevent.os import make_nonblocking, nb_read, nb_write
from gevent.subprocess import Popen

from tests.support.die_with_parent import lead_session_and_die_with_parent

#: What moves the cursor and colours the text, as ECMA-48 and xterm write it.
_CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[ -/]*[0-~]|[\x00-\x08\x0e-\x1f]")

#: What some shells ask of a terminal, and wait for: the cursor's place, and its kind.
_ANSWERS = {b"\x1b[6n": b"\x1b[1;1R", b"\x1b[c": b"\x1b[?6c", b"\x1b[0c": b"\x1b[?6c"}


class Terminal:
    """A program with a terminal of its own, 80 columns wide, which ends with `close()`, or with this process."""

    def __init__(self, command: Sequence[object], env: Mapping[str, str]) -> None:
        """Start it.

        Args:
            command: turned into strings.
            env: its whole environment.
        """
        self._shown = ""
        self._searched = 0
        self._written = Event()
        self._ours, its = os.openpty()
        fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self._process = Popen(
            [str(word) for word in command],
            env={"TERM": "xterm", **env},
            stdin=its,
            stdout=its,
            stderr=its,
            preexec_fn=_lead_terminal,
        )
        os.close(its)
        make_nonblocking(self._ours)
        self._reader = gevent.spawn(self._read)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def shown(self) -> str:
        """All that it has written, without what moves the cursor."""
        return _CONTROL.sub("", self._shown)

    def type(self, text: str) -> None:
        """Send it key strokes; nothing that was shown before is waited for any more."""
        self._searched = len(self.shown)
        data = text.encode()
        while data:
            data = data[nb_write(self._ours, data) :]

    def wait_for(self, pattern: str, timeout: float = 60.0) -> re.Match[str]:
        """Wait until something is shown, since the last key stroke, in which a regular expression is found.

        Raises:
            AssertionError: not so within `timeout` seconds, or before the program ended.
        """
        deadline = time.monotonic() + timeout
        while True:
            self._written.clear()
            ended = self._reader.dead
            match = re.search(pattern, self.shown[self._searched :])
            if match is not None:
                return match
            if ended or not self._written.wait(max(0.0, deadline - time.monotonic())):
                raise AssertionError(f"no {pattern!r} was shown within {timeout:g} s, but:\n{self.shown}")

    def close(self) -> None:
        """Kill the program, and give the terminal back."""
        self._process.kill()
        self._process.wait()
        self._reader.kill()
        os.close(self._ours)

    def _read(self) -> None:
        asked = b""
        try:
            while data := nb_read(self._ours, 65536):
                self._shown += data.decode(errors="replace")
                self._written.set()
                asked = (asked + data)[-1000:]
                for question, answer in _ANSWERS.items():
                    if question in asked:
                        asked = asked.replace(question, b"")
                        nb_write(self._ours, answer)
        except OSError:
            # Linux says so where the program has ended.
            pass
        finally:
            self._written.set()


def _lead_terminal() -> None:
    """Run in a new child: its standard input is the terminal of a session of its own."""
    lead_session_and_die_with_parent()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
