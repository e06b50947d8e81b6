"""Asks the processes of ``amphora serve --metrics-port`` how they are, with as little as can be imported for it.

A probe is started every few seconds: this module imports nothing of the package, nor gevent.
"""

from __future__ import annotations

import socket
import sys
from time import monotonic

__all__ = ["DEFAULT_HOST", "DEFAULT_TIMEOUT", "ask", "describe", "page_of", "ports_of", "probe"]

DEFAULT_HOST = "127.0.0.1"

#: Seconds for the answers of all processes.
DEFAULT_TIMEOUT = 5.0

#: Bytes of an answer that are read, at most.
_LONGEST = 64 * 1024


def probe(arguments: list[str]) -> int | None:
    """Do what ``amphora health --port`` does, and print how the processes are.

    Args:
        arguments: Those of the command line, behind ``health``.

    Returns:
        The exit status: 0 where they are well, else 1. None where the arguments want more than this, or are wrong:
        nothing was done then, and the command itself knows what to do or to say.
    """
    try:
        given = _Given(arguments)
    except (StopIteration, ValueError):
        return None
    ports = ports_of(given.ports, given.processes)
    answers = ask(ports, host=given.host, page=page_of(live=given.live, max_lag=given.max_lag), timeout=given.timeout)
    for line in describe(answers):
        sys.stdout.write(f"{line}\n")
    well = sum(status == 200 for _, status, _ in answers)
    return 0 if well >= (given.servers or len(ports)) else 1


def ports_of(first: list[int], processes: int) -> list[int]:
    """Return the ports of all processes: of so many, each has the next port."""
    return list(dict.fromkeys(port + number for port in first for number in range(processes)))


def page_of(*, live: bool, max_lag: float | None) -> str:
    """Return the path that is asked for."""
    if live:
        return "/live"
    return "/ready" if max_lag is None else f"/ready?max-lag={max_lag!r}"


def ask(
    ports: list[int], *, host: str, page: str, timeout: float, accept: str = "text/plain"
) -> list[tuple[int, int, str]]:
    """Ask all processes at once.

    Args:
        ports: Where they answer.
        host: On which machine.
        page: Path to ask for.
        timeout: Seconds for all of them together.
        accept: Type of the answers.

    Returns:
        For each process its port, the HTTP status (200 or 503), and the text; where there is no such answer, 0 and
        what is wrong.
    """
    deadline = monotonic() + timeout
    request = f"GET {page} HTTP/1.0\r\nHost: {host}\r\nAccept: {accept}\r\n\r\n".encode()
    asked: list[tuple[int, socket.socket | OSError]] = []
    for port in ports:
        try:
            line = socket.create_connection((host, port), _until(deadline))
            line.sendall(request)
        except OSError as error:
            asked.append((port, error))
        else:
            asked.append((port, line))
    answers = []
    for port, line_or_error in asked:
        try:
            if isinstance(line_or_error, OSError):
                raise line_or_error
            with line_or_error as line:
                status, text = _read_answer(line, deadline)
        except OSError as error:
            why = f"nothing within {timeout:g} s" if isinstance(error, TimeoutError) else error.strerror or str(error)
            status, text = 0, f"no answer from {host}:{port} ({why})"
        answers.append((port, status, text))
    return answers


def describe(answers: list[tuple[int, int, str]]) -> list[str]:
    """Return the lines that say it all; with the port before each where there are several."""
    several = len(answers) > 1
    return [
        f"{port}: {_printable(line)}" if several else _printable(line)
        for port, _, text in answers
        for line in text.splitlines()
    ]


def _printable(line: str) -> str:
    # As in amphora.logs.remote_text.
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in line)


class _Given:
    """What the command line says.

    Raises:
        StopIteration, ValueError: Something else than is known here, or something wrong.
    """

    def __init__(self, arguments: list[str]) -> None:
        self.ports: list[int] = []
        self.processes = 1
        self.servers: int | None = None
        self.host = DEFAULT_HOST
        self.timeout = DEFAULT_TIMEOUT
        self.max_lag: float | None = None
        self.live = self.ready = False
        words = iter(arguments)
        for word in words:
            if word == "--live":
                self.live = True
            elif word == "--ready":
                self.ready = True
            else:
                name, equals, value = word.partition("=")
                self._take(name, value if equals else next(words))
        if not self.ports or max(self.ports) + self.processes > 65536:
            raise ValueError("ports")
        if self.live and (self.ready or self.max_lag is not None):
            raise ValueError("--live")

    def _take(self, name: str, value: str) -> None:
        if name == "--port":
            self.ports.append(int(_more_than_zero(int(value))))
        elif name == "--processes":
            self.processes = int(_more_than_zero(int(value)))
        elif name == "--servers":
            self.servers = int(_more_than_zero(int(value)))
        elif name == "--host":
            self.host = value
        elif name == "--timeout":
            self.timeout = _more_than_zero(float(value))
        elif name == "--max-lag":
            self.max_lag = _more_than_zero(float(value))
        else:
            raise ValueError(name)


def _more_than_zero(number: float) -> float:
    # Not so for NaN, nor for what no clock counts up to.
    if not 0 < number < 1e9:
        raise ValueError(number)
    return number


def _read_answer(line: socket.socket, deadline: float) -> tuple[int, str]:
    data = b""
    while len(data) < _LONGEST:
        line.settimeout(_until(deadline))
        part = line.recv(_LONGEST)
        if not part:
            break
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    words = head.partition(b"\r\n")[0].split(None, 1)
    if len(words) < 2 or not words[0].startswith(b"HTTP/"):
        raise OSError("what answers there does not speak HTTP")
    text = body.decode(errors="replace").strip()
    if words[1].split()[0] not in (b"200", b"503"):
        status = words[1].decode(errors="replace").strip()
        raise OSError(f"but HTTP {status}: is this the port of `amphora serve --metrics-port`?")
    return int(words[1][:3]), text


def _until(deadline: float) -> float:
    # A timeout of 0 would mean something else to a socket.
    return max(0.001, deadline - monotonic())
