"""The socket of one AMQP connection: joined writes, one `recv` for many frames, one owner who waits.

Plugs into py-amqp as its transport. It takes gevent's sockets by name, so it does not depend on
monkey-patching. Writes come from any greenlet and never block; reads and waits belong to the one
greenlet that owns the connection.
"""

from __future__ import annotations

import errno
import socket as stdlib_socket
from time import monotonic
from typing import Any

from amqp.transport import TCPTransport
from gevent import get_hub, socket, ssl
from gevent.hub import Waiter

__all__ = ["BatchingSocket"]

#: Bytes that one `recv` takes, unless more are known to come. Beyond 128 KiB, the C library would ask the system
#: for memory, and give it back, at each of them.
_RECEIVE = 64 * 1024

#: Bytes that one `recv` takes at the most.
_RECEIVE_MOST = 1024 * 1024

#: From this many bytes on, what is queued is handed over in pieces instead of being joined first.
_TOO_LARGE_TO_JOIN = 32 * 1024

#: Pieces that one `sendmsg` takes at the most; the system's own limit (IOV_MAX) is 1,024.
_PIECES = 512

#: Errors of a non-blocking socket that only mean "not now".
_NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)

#: The kernel must not give up a connection whose peer is slow: heartbeats decide about that.
#: (py-amqp's own default is one second, which a broker under a memory alarm exceeds.)
_SOCKET_SETTINGS = {stdlib_socket.TCP_NODELAY: 1, getattr(socket, "TCP_USER_TIMEOUT", 18): 0}


class BatchingSocket(TCPTransport):  # type: ignore[misc]
    """A non-blocking socket with a buffer in each direction.

    Frames written during one turn of the event loop leave in one `send`.

    Args:
        host: ``host:port``.
        connect_timeout: Seconds for the TCP connection and the TLS handshake, each.
        tls: TLS context and server name, or None for plain TCP.
    """

    sock: Any

    def __init__(
        self,
        host: str,
        *,
        connect_timeout: float | None,
        tls: tuple[ssl.SSLContext, str | None] | None,
    ) -> None:
        super().__init__(host, connect_timeout=connect_timeout, socket_settings=dict(_SOCKET_SETTINGS))
        self.last_received = self.last_sent = monotonic()
        self._tls = tls
        self._outgoing: list[bytes | memoryview] = []
        self._queued = 0
        self._flush_scheduled = False
        self._error: OSError | None = None
        self._waiter: Any = None
        self._woken = False
        self._readable: Any = None
        self._writable: Any = None
        self._loop: Any = get_hub().loop

    # -- called by py-amqp ------------------------------------------------------------------

    def _connect(self, host: str, port: int, timeout: float | None) -> None:
        self.sock = socket.create_connection((host, port), timeout=timeout)

    def _setup_transport(self) -> None:
        if self._tls is not None:
            context, server_name = self._tls
            self.sock.settimeout(self.connect_timeout)
            self.sock = context.wrap_socket(self.sock, server_hostname=server_name or self.host)
        self.sock.settimeout(0.0)
        self._readable = self._loop.io(self.sock.fileno(), 1)
        self._writable = self._loop.io(self.sock.fileno(), 2)

    def _shutdown_transport(self) -> None:
        """Do without the TLS goodbye: it would wait for a peer that may be gone."""

    def _write(self, data: bytes) -> None:
        self.write(data)

    def write(self, data: bytes | memoryview) -> None:
        """Queue one frame of py-amqp's, which reuses its buffer: hence the copy."""
        self.write_frames(bytes(data))

    def close(self) -> None:
        """Close the socket; what is still queued for sending is sent as far as it goes."""
        if self._error is None:
            self._flush()
        for watcher in (self._readable, self._writable):
            if watcher is not None:
                watcher.stop()
                watcher.close()
        self._readable = self._writable = None
        self._drop_outgoing()
        super().close()

    # -- called by anyone -------------------------------------------------------------------

    def write_frames(self, *pieces: bytes | memoryview, at_once: bool = False) -> None:
        """Queue whole frames for sending.

        Args:
            *pieces: The frames, cut anywhere; they must not change until they are sent.
            at_once: Send now, if nothing else is queued, instead of at the end of this turn of
                the event loop.
        """
        self._outgoing += pieces
        for piece in pieces:
            self._queued += len(piece)
        if self._flush_scheduled:
            return
        if at_once:
            self._flush()
        else:
            self._flush_scheduled = True
            self._loop.run_callback(self._flush_later)

    def wake(self) -> None:
        """End the owner's current `wait`, or else its next one."""
        if self._waiter is not None and not self._woken:
            self._loop.run_callback(self._waiter.switch, None)
        self._woken = True

    # -- called by the owner ----------------------------------------------------------------

    def wait(self) -> None:
        """Wait until bytes can be read, somebody calls `wake`, or sending has failed.

        Raises:
            OSError: The connection is broken.
        """
        if self._error is not None:
            raise self._error
        if self._readable is None:
            raise OSError(errno.ENOTCONN, "the connection is closed")
        if not self._woken:
            waiter = self._waiter = Waiter()
            if not self._readable.active:
                self._readable.start(self._on_readable)
            try:
                waiter.get()
            finally:
                self._waiter = None
        self._woken = False
        if self._error is not None:
            raise self._error

    def _on_readable(self) -> None:
        if self._waiter is not None:
            self._waiter.switch(None)
        else:
            # The owner is busy elsewhere: it looks again when it waits the next time.
            self._readable.stop()

    def receive(self, expected: int = 0) -> bytes:
        """Return what has arrived, ``b""`` if nothing has.

        Args:
            expected: Bytes that are known to come.

        Raises:
            OSError: The peer has closed the connection, or it is broken.
        """
        sock = self.sock
        if sock is None:
            raise OSError(errno.ENOTCONN, "the connection is closed")
        size = _RECEIVE if expected <= _RECEIVE else min(expected, _RECEIVE_MOST)
        try:
            data: bytes = sock.recv(size)
        except _NOT_NOW:
            return b""
        if not data:
            raise ConnectionResetError(errno.ECONNRESET, "the broker closed the connection")
        self.last_received = monotonic()
        if self._tls is not None:
            # OpenSSL may hold decrypted bytes that the file descriptor no longer announces.
            return data + self._receive_pending()
        return data

    def _receive_pending(self) -> bytes:
        parts = []
        while self.sock.pending():
            try:
                parts.append(self.sock.recv(_RECEIVE))
            except _NOT_NOW:
                break
        return b"".join(parts)

    # -- sending ----------------------------------------------------------------------------

    def _writable_active(self) -> bool:
        return self._writable is not None and self._writable.active

    def _flush_later(self) -> None:
        self._flush_scheduled = False
        self._flush()

    def _flush(self) -> None:
        if not self._outgoing or self.sock is None or self._error is not None or self._writable_active():
            return
        try:
            sent = self._send()
        except _NOT_NOW:
            sent = 0
        except OSError as error:
            self._fail(error)
            return
        if sent:
            self.last_sent = monotonic()
        if sent < self._queued:
            self._drop_sent(sent)
            self._writable.start(self._on_writable)
        else:
            self._drop_outgoing()

    def _send(self) -> int:
        """Hand over what is queued, as far as the kernel takes it; return the number of bytes."""
        outgoing = self._outgoing
        if self._queued > _TOO_LARGE_TO_JOIN and self._tls is None:
            return int(self.sock.sendmsg(outgoing[:_PIECES]))
        if len(outgoing) > 1:
            # TLS has to be given the same bytes again where it could not send them: they stay joined.
            outgoing[:] = [b"".join(outgoing)]
        return int(self.sock.send(outgoing[0]))

    def _drop_sent(self, sent: int) -> None:
        """Forget the bytes that were sent; the rest stays queued."""
        self._queued -= sent
        outgoing = self._outgoing
        done = 0
        for piece in outgoing:
            if sent < len(piece):
                break
            sent -= len(piece)
            done += 1
        del outgoing[:done]
        if sent:
            outgoing[0] = memoryview(outgoing[0])[sent:]

    def _drop_outgoing(self) -> None:
        self._outgoing.clear()
        self._queued = 0

    def _on_writable(self) -> None:
        self._writable.stop()
        self._flush()

    def _fail(self, error: OSError) -> None:
        self._error = error
        self.connected = False
        self._drop_outgoing()
        self.wake()
