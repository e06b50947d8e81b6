"""Run a Python program in a terminal, and see its screen as a person does."""

import fcntl
import os
import pty
import re
import signal
import struct
import sys
import termios
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Self

import gevent
import pyte
from gevent import os as gevent_os
from gevent.subprocess import Popen, TimeoutExpired

from tests.support.die_with_parent import lead_session_and_die_with_parent
from tests.support.eventually import wait_until
from tests.support.processes import ROOT


class _Emulator(pyte.Screen):
    """A screen that answers programs which ask what it is, for some wait until it does."""

    def __init__(self, columns: int, lines: int, answer: Callable[[str], object]) -> None:
        super().__init__(columns, lines)
        self._answer = answer

    def write_process_input(self, data: str) -> None:
        self._answer(data)


class Terminal:
    """A program in a terminal of its own. It starts at once, and ends with `close()`, or with this process.

    Attributes:
        written: all that it wrote so far, with the terminal's control sequences.
    """

    def __init__(
        self, *arguments: object, columns: int = 80, lines: int = 24, env: Mapping[str, str] | None = None
    ) -> None:
        """Start `python *arguments`.

        Args:
            arguments: turned into strings.
            columns: width of the terminal.
            lines: its height.
            env: environment variables on top of this process's.
        """
        self.written = b""
        self._emulator = _Emulator(columns, lines, self.type)
        self._stream = pyte.ByteStream(self._emulator)
        self._master, slave = pty.openpty()
        self.resize(columns, lines)
        # The terminal says how large it is, not the environment of whoever runs the tests.
        inherited = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
        self._process = Popen(
            [sys.executable, *map(str, arguments)],
            cwd=ROOT,
            env={**inherited, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", **(env or {})},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            preexec_fn=_lead_session_in_terminal,
        )
        os.close(slave)
        gevent_os.make_nonblocking(self._master)
        self._reader = gevent.spawn(self._read)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def screen(self) -> list[str]:
        """The lines that are on the screen now, without the spaces at their ends, and without empty ones at the end."""
        return "\n".join(line.rstrip() for line in self._emulator.display).rstrip().split("\n")

    @property
    def cursor_hidden(self) -> bool:
        """Whether the cursor cannot be seen."""
        return bool(self._emulator.cursor.hidden)

    def wait_for_screen(self, pattern: str, timeout: float) -> None:
        """Wait until the lines of the screen, as one text, match a regular expression as a whole.

        Raises:
            AssertionError: they do not within `timeout` seconds; the message has the screen as it was last.
        """
        wanted = re.compile(pattern)

        def matches() -> bool:
            shown = "\n".join(self.screen)
            assert wanted.fullmatch(shown), f"the screen was\n{shown}"
            return True

        wait_until(matches, timeout, message=f"a screen like\n{pattern}")

    def resize(self, columns: int, lines: int) -> None:
        """Make the terminal larger or smaller; the program is told, as a window manager's would be."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self._emulator.resize(lines, columns)

    def type(self, text: str) -> None:
        """Press keys; Ctrl-C is chr(3)."""
        os.write(self._master, text.encode())

    def wait(self, timeout: float) -> int:
        """Wait for the end of the program and of its output; return what it ended with, as `Popen.returncode`.

        Raises:
            AssertionError: it still ran after `timeout` seconds.
        """
        try:
            code: int = self._process.wait(timeout)
        except TimeoutExpired:
            screen = "\n".join(self.screen)
            raise AssertionError(f"the program did not end within {timeout:g} s; its screen:\n{screen}") from None
        self._reader.join(timeout=timeout)
        return code

    def close(self) -> None:
        """Kill what still runs of it, and give the terminal back."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._reader.kill()
        os.close(self._master)

    def _read(self) -> None:
        # When nobody has the other end open any more, Linux says that the terminal is broken (EIO).
        with suppress(OSError):
            while data := gevent_os.nb_read(self._master, 65536):
                self.written += data
                self._stream.feed(data)


def _lead_session_in_terminal() -> None:
    """Run in a new child: lead a session whose terminal is standard input, so that Ctrl-C in it comes as SIGINT."""
    lead_session_and_die_with_parent()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
