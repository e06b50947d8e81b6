"""The socket of one AMQP connection: joined writes, one `recv` for many frames, one owner who waits.

Plugs into py-amqp as its transport. It takes gevent's sockets by name, so it does not depend on
monkey-patching. Writes come from any greenlet and never block; reads and waits belong to the one
greenlet that owns the connection.
"""

from __future__ import annotations

import errno
import socket as stdlib_socket
import ssl
from contextlib import suppress
from fcntl import ioctl
from sys import byteorder
from termios import TIOCOUTQ
from time import monotonic
from typing import Any

from amqp.transport import TCPTransport
from gevent import Timeout, get_hub, socket
from gevent.hub import Waiter

from amphora.driver.forks import let_go_after_fork
from amphora.driver.frames import HEARTBEAT
from amphora.driver.progress import SECOND, Silence
from amphora.driver.tls_faults import NoTls, TlsPort
from amphora.driver.tls_session import TlsSession
from amphora.interrupts import contained, from_signal, hand_on

__all__ = ["BatchingSocket"]

#: Bytes that one `recv` takes: at first, and after a small one; and at most, while large ones come. Beyond 128 KiB,
#: the C library asks the system for memory, and gives it back, at each of them.
_RECEIVE, _RECEIVE_MOST = 64 * 1024, 1024 * 1024

#: From this many bytes on, what is queued is handed over in pieces instead of being joined first.
_TOO_LARGE_TO_JOIN = 32 * 1024

#: Pieces that one `sendmsg` takes at most; the system's own limit (IOV_MAX) is 1,024.
_PIECES = 512

#: Bytes that are encrypted, and so copied, at a time; as many are not joined with others, which copies too.
_JOINED = 256 * 1024

#: How TLS's alerts begin (RFC 8446, 5.1); no frame of AMQP does.
_ALERT = b"\x15\x03"

#: How the answer of an AMQP broker to anything but AMQP begins; no record of TLS does.
_AMQP = b"AMQP"

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
        tls: tuple[ssl.SSLContext, str] | None,
    ) -> None:
        super().__init__(host, connect_timeout=connect_timeout, socket_settings=dict(_SOCKET_SETTINGS))
        self.last_received = self.last_sent = self.last_moved = monotonic()
        #: Bytes handed to the kernel so far.
        self.sent = 0
        self._address: Any = None
        # What arrived while the address was tried.
        self._early = b""
        self._tls = tls
        self._session: TlsSession | None = None
        self._outgoing: list[bytes | memoryview] = []
        # With TLS: what is encrypted already.
        self._encrypted: bytes | memoryview = b""
        # ... and whether it is a heartbeat and nothing else.
        self._is_beat = False
        self._anything_received = False
        self._receive_size = _RECEIVE
        self._flush_scheduled = False
        self._error: OSError | None = None
        self._waiter: Any = None
        self._woken = False
        self._readable: Any = None
        self._writable: Any = None
        self._loop: Any = get_hub().loop
        let_go_after_fork(self)

    @property
    def session(self) -> TlsSession | None:
        """The TLS on it; None on plain TCP."""
        return self._session

    # -- called by py-amqp ------------------------------------------------------------------

    def connect(self) -> None:
        """Connect to the first address of the host whose server begins to talk AMQP.

        One that accepts connections and stays silent, or drops them, would otherwise stand before all others for good.

        Raises:
            OSError: No address works; this is the error of the last one.
        """
        with Timeout(self.connect_timeout, Silence(f"host name {self.host!r} was not resolved in time")):
            found = socket.getaddrinfo(self.host, self.port, socket.AF_UNSPEC, socket.SOCK_STREAM, socket.SOL_TCP)
        # A name may have the same address more than once.
        *others, last = dict.fromkeys((family, address) for family, _, _, _, address in found)
        for address in others:
            try:
                self._connect_to(address)
                self._wait_for_first_byte()
            except OSError:
                self._forget_address()
            else:
                return
        self._connect_to(last)

    def _connect_to(self, address: Any) -> None:
        self._address = address
        # The handshake of TLS waits for each answer: this is for a peer that gives many small ones.
        most = None if self.connect_timeout is None else SECOND * self.connect_timeout
        with Timeout(most, Silence(f"the connection was not made within {most} s")):
            super().connect()

    def _connect(self, host: str, port: int, timeout: float | None) -> None:
        family, address = self._address
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        self.sock.settimeout(timeout)
        self.sock.connect(address)

    def _wait_for_first_byte(self) -> None:
        """Wait until the server has said something.

        Raises:
            OSError: It does not, or has closed the connection.
        """
        limit = self.connect_timeout
        with Timeout(limit, Silence(f"no answer to the handshake for {limit} s")):
            while not self._early:
                self.wait()
                self._early = self.receive()
        # The next `wait` has not to wait for it.
        self._woken = True

    def _forget_address(self) -> None:
        """Make ready for a connection to another address."""
        self._close_watchers()
        sock, self.sock = self.sock, None
        if sock is not None:
            sock.close()
        self.connected = False
        self._session = self._error = None
        self._outgoing.clear()
        self._encrypted = b""
        self._early = b""
        self._anything_received = self._woken = False
        self.last_received = self.last_sent = self.last_moved = monotonic()

    def _setup_transport(self) -> None:
        if self._tls is not None:
            self._session = TlsSession(*self._tls)
            self.sock.settimeout(self.connect_timeout)
            self._shake_hands(self._session)
        self.sock.settimeout(0.0)
        self._readable = self._loop.io(self.sock.fileno(), 1)
        self._writable = self._loop.io(self.sock.fileno(), 2)

    def _shake_hands(self, session: TlsSession) -> None:
        """Carry out the TLS handshake.

        Raises:
            ssl.SSLError: It failed.
            NoTls: The port speaks plain AMQP.
            OSError: The connection is broken.
        """
        received = b""
        while not self._go_on_with_handshake(session, received):
            try:
                received = self.sock.recv(_RECEIVE)
            except Silence:
                raise
            except TimeoutError as error:
                limit = self.connect_timeout
                raise Silence(f"no answer to the handshake for {limit} s", limit) from error
            self.last_moved = monotonic()
            if not received:
                session.end_of_input()
            if not self._anything_received and received.startswith(_AMQP):
                raise NoTls("it speaks plain AMQP")
            self._anything_received = True
        # From here on it says whether AMQP was.
        self._anything_received = False

    def _go_on_with_handshake(self, session: TlsSession, received: bytes) -> bool:
        try:
            done = session.shake_hands(received)
        except ssl.SSLError:
            with suppress(OSError):
                # An alert that tells the broker's operator, too.
                self.sock.sendall(session.to_send())
            raise
        self.sock.sendall(session.to_send())
        return done

    def _shutdown_transport(self) -> None:
        """Say goodbye in TLS without waiting for the answer of a peer that may be gone."""
        if self._session is not None and self._error is None and not self._encrypted and not self._outgoing:
            self._session.say_goodbye()
            self.sock.send(self._session.to_send())

    def _write(self, data: bytes) -> None:
        self.write(data)

    def write(self, data: bytes | memoryview) -> None:
        """Queue one frame of py-amqp's, which reuses its buffer: hence the copy."""
        self.write_frames(bytes(data))

    def close(self) -> None:
        """Close the socket; what is still queued for sending is sent as far as it goes."""
        if self._error is None:
            self._flush()
        self._close_watchers()
        super().close()
        self._outgoing.clear()
        self._encrypted = b""

    def let_go(self) -> None:
        """Forget the connection in a forked child: what is queued is the parent's to send, and the end its to tell."""
        self._error = OSError(errno.ENOTCONN, "the connection is that of the parent process")
        self.connected = False
        self._outgoing.clear()
        self._encrypted = b""
        self._close_watchers()
        sock, self.sock = self.sock, None
        if sock is not None:
            # Without a shutdown, which would end it for the parent too.
            sock.close()

    def _close_watchers(self) -> None:
        for watcher in (self._readable, self._writable):
            if watcher is not None:
                watcher.stop()
                watcher.close()
        self._readable = self._writable = None

    # -- called by anyone -------------------------------------------------------------------

    def write_frames(self, *pieces: bytes | memoryview, at_once: bool = False) -> None:
        """Queue whole frames for sending.

        Args:
            *pieces: The frames, cut anywhere; they must not change until they are sent.
            at_once: Send now, if nothing else is queued, instead of at the end of this turn of
                the event loop.
        """
        self._outgoing += pieces
        if self._flush_scheduled:
            return
        if at_once:
            self._flush()
        else:
            # In this order: where a signal's handler raises in between, it is only flushed once more.
            self._loop.run_callback(self._flush_later)
            self._flush_scheduled = True

    def wake(self) -> None:
        """End the owner's current `wait`, or else its next one."""
        if self._waiter is not None and not self._woken:
            self._loop.run_callback(self._waiter.switch, None)
        self._woken = True

    # -- what `AnswerWatch` looks at --------------------------------------------------------

    def unsent(self) -> int:
        """Return how many bytes are queued and not handed to the kernel yet."""
        return sum(map(len, self._outgoing)) + len(self._encrypted)

    def unacknowledged(self) -> int:
        """Return how many bytes the kernel holds that the peer has not acknowledged."""
        if self.sock is None:
            return 0
        try:
            return int.from_bytes(ioctl(self.sock.fileno(), TIOCOUTQ, bytes(4)), byteorder)
        except OSError:
            # Not on this system, or the connection is gone, which is noticed elsewhere.
            return 0

    def has_arrived(self) -> bool:
        """Return whether there are bytes, or the end of the connection, to be read."""
        if self.sock is None:
            return False
        try:
            self.sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            # Which the owner is to be told.
            return True
        return True

    # -- called by the owner ----------------------------------------------------------------

    def wait(self) -> None:
        """Wait until bytes can be read, `wake` is called, or sending has failed.

        Raises:
            OSError: The connection is broken.
        """
        if self._error is not None and self._failed():
            return
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
            self._failed()

    def _failed(self) -> bool:
        """Return whether sending has failed and the broker has said something before that: why, probably.

        Raises:
            OSError: Sending has failed, and there is nothing left to read.
        """
        if self._error is None:
            return False
        if self.sock is None:
            raise self._error
        try:
            last_words = self.sock.recv(1, socket.MSG_PEEK)
        except OSError:
            last_words = b""
        if not last_words:
            raise self._error
        return True

    def _on_readable(self) -> None:
        try:
            if self._waiter is not None:
                self._waiter.switch(None)
            else:
                # The owner is busy elsewhere: it looks again when it waits the next time.
                self._readable.stop()
        except Exception as error:  # noqa: BLE001  (it is raised again)
            hand_on(error)

    def receive(self) -> bytes:
        """Return what has arrived, ``b""`` if nothing has.

        Raises:
            OSError: The peer has closed the connection, or it is broken.
        """
        sock = self.sock
        if sock is None:
            raise OSError(errno.ENOTCONN, "the connection is closed")
        if self._early:
            early, self._early = self._early, b""
            return early
        if self._session is not None and self._session.failure is not None:
            raise self._session.failure
        try:
            data: bytes = sock.recv(self._receive_size)
        except BlockingIOError:
            return b""
        except ConnectionResetError as error:
            raise self._lost(error.strerror or str(error)) from error
        if not data:
            raise self._lost("the broker closed the connection")
        self.last_received = monotonic()
        if len(data) == self._receive_size:
            self._receive_size = min(4 * self._receive_size, _RECEIVE_MOST)
        elif len(data) < _RECEIVE:
            self._receive_size = _RECEIVE
        if self._session is not None:
            return self._decrypt(self._session, data)
        if data != HEARTBEAT:
            self.last_moved = self.last_received
        if not self._anything_received:
            if data.startswith(_ALERT):
                raise TlsPort("it wants TLS")
            self._anything_received = True
        return data

    def _lost(self, what: str) -> ConnectionResetError:
        if self._session is not None and not self._anything_received:
            # Some do not say why, or take it back by closing at once.
            what += " right after the TLS handshake (does it want another client certificate? its log says why)"
        return ConnectionResetError(errno.ECONNRESET, what)

    def _decrypt(self, session: TlsSession, received: bytes) -> bytes:
        data = session.decrypt(received)
        if data:
            self._anything_received = True
            if data != HEARTBEAT:
                self.last_moved = self.last_received
        if session.failure is not None:
            # Raised by the next call, which is to come soon: the socket itself may have nothing more to say.
            self._woken = True
        # An answer of TLS's own, or frames that waited for a negotiation to end.
        answer = session.to_send()
        if answer:
            self._encrypted = b"".join((self._encrypted, answer))
        if answer or self._outgoing:
            self._flush()
        return data

    # -- sending ----------------------------------------------------------------------------

    def _flush_later(self) -> None:
        try:
            self._flush_scheduled = False
            self._flush()
        except Exception as error:  # noqa: BLE001  (it is raised again)
            hand_on(error)

    def _flush(self) -> None:
        writable = self._writable
        if self.sock is None or self._error is not None or (writable is not None and writable.active):
            return
        try:
            done = self._send() if self._session is None else self._send_encrypted(self._session)
        except OSError as error:
            self._fail(error)
            if from_signal(error) is not None:
                raise
            return
        except BaseException:
            # A signal's handler has raised. How much the kernel had taken is unknown, and no byte may be sent twice: a
            # message would be published a second time, and every later confirm be taken for that of another one.
            self._fail(OSError(errno.EINTR, "sending was interrupted by the handler of a signal"))
            raise
        if not done:
            self._writable.start(contained, self._on_writable)

    def _send(self) -> bool:
        """Hand over what is queued, as far as the kernel takes it; return whether that is all."""
        outgoing = self._outgoing
        if not outgoing:
            return True
        size = sum(map(len, outgoing))
        try:
            if size > _TOO_LARGE_TO_JOIN:
                sent = self.sock.sendmsg(outgoing[:_PIECES])
            else:
                sent = self.sock.send(outgoing[0] if len(outgoing) == 1 else b"".join(outgoing))
        except BlockingIOError:
            return False
        self.last_sent = monotonic()
        self.sent += sent
        if outgoing[0] is not HEARTBEAT:
            self.last_moved = self.last_sent
        if sent < size:
            self._drop_sent(sent)
            return False
        outgoing.clear()
        return True

    def _drop_sent(self, sent: int) -> None:
        """Forget the bytes that were sent; the rest stays queued."""
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

    def _send_encrypted(self, session: TlsSession) -> bool:
        """Encrypt and hand over what is queued, as far as the kernel takes it; return whether that is all."""
        while data := self._next_encrypted(session):
            try:
                sent = self.sock.send(data)
            except BlockingIOError:
                sent = 0
            else:
                self.last_sent = monotonic()
                self.sent += sent
                if not self._is_beat:
                    self.last_moved = self.last_sent
            if sent < len(data):
                self._encrypted = memoryview(data)[sent:]
                return False
        return True

    def _next_encrypted(self, session: TlsSession) -> bytes | memoryview:
        """Take what the socket should send next out of the buffers."""
        if not self._encrypted:
            taken_out = self._take()
            self._is_beat = taken_out is HEARTBEAT
            data = memoryview(taken_out)
            taken = session.encrypt(data[:_JOINED]) if data else 0
            if taken < len(data):
                self._outgoing.insert(0, data[taken:])
            self._encrypted = session.to_send()
        encrypted, self._encrypted = self._encrypted, b""
        return encrypted

    def _take(self) -> bytes | memoryview:
        """Take frames out of the buffer, many small ones joined; a large remainder is not copied again and again."""
        outgoing = self._outgoing
        if not outgoing:
            return b""
        if len(outgoing) == 1 or len(outgoing[0]) >= _JOINED:
            return outgoing.pop(0)
        data = b"".join(outgoing)
        outgoing.clear()
        return data

    def _on_writable(self) -> None:
        self._writable.stop()
        self._flush()

    def _fail(self, error: OSError) -> None:
        self._error = error
        self.connected = False
        self._outgoing.clear()
        self._encrypted = b""
        self.wake()
