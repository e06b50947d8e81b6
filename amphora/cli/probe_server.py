"""The HTTP server of the probes' port: gevent's, for strangers, who may be slow, or many."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import gevent
from gevent.pywsgi import WSGIHandler, WSGIServer

__all__ = ["ProbeServer"]

#: Connections at a time. With one more, the oldest whose request is not complete ends.
_CONNECTIONS = 32

#: Seconds that a connection may last.
_SECONDS = 10.0

#: Bytes of a request.
_LONGEST = 16_384


class _Limited(io.RawIOBase):
    """The first bytes that a connection sends; nothing comes after them.

    Args:
        sock: The connection.
    """

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self._left = _LONGEST

    def readable(self) -> bool:
        """Return whether it can be read from."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read some bytes."""
        found: int = self._sock.recv_into(memoryview(buffer)[: self._left]) if self._left else 0
        self._left -= found
        return found


class _Handler(WSGIHandler):
    """Answers one request of a connection."""

    def __init__(self, sock: Any, address: Any, server: Any) -> None:
        super().__init__(sock, address, server)
        self.rfile = io.BufferedReader(_Limited(sock))
        self._complete: Callable[[], object] = server.complete

    def read_request(self, raw_requestline: str) -> Any:
        """Read the rest of the request; another one needs another connection."""
        read = super().read_request(raw_requestline)
        self.close_connection = True
        self._complete()
        return read


class ProbeServer(WSGIServer):
    """Serves an application to a limited number of connections, each for a limited time.

    Args:
        address: Host and port.
        application: A WSGI application, which answers at once.
    """

    def __init__(self, address: tuple[str, int], application: Callable[..., Any]) -> None:
        super().__init__(address, application, log=None, error_log=None, handler_class=_Handler)
        # Greenlets of the connections in the order in which they came, and whether the request is complete.
        self._open: dict[Any, bool] = {}

    def handle(self, sock: Any, address: Any) -> None:
        """Handle a connection, in a greenlet of its own."""
        here: Any = gevent.getcurrent()
        if len(self._open) >= _CONNECTIONS:
            oldest = next((each for each, complete in self._open.items() if not complete), next(iter(self._open)))
            del self._open[oldest]
            oldest.kill(block=False)
        self._open[here] = False
        timer = gevent.spawn_later(_SECONDS, here.kill, gevent.GreenletExit, False)
        try:
            super().handle(sock, address)
        finally:
            timer.kill(block=False)
            self._open.pop(here, None)

    def complete(self) -> None:
        """Note that the request of this greenlet's connection is complete."""
        here: Any = gevent.getcurrent()
        if here in self._open:
            self._open[here] = True
