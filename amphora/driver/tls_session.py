"""TLS on bytes, without a socket: what to send for what was written, what was read from what has arrived.

OpenSSL works on buffers in memory here, never on the socket. So it never waits for a socket to be writable
(a write that was begun need not be repeated with the same bytes), holds back nothing that a file descriptor
would have to announce, and may read while writing (a renegotiation, a new key) and write while reading.
"""

from __future__ import annotations

import ssl

__all__ = ["TlsSession"]

#: Bytes that one record of TLS holds at most, RFC 8446, 5.1.
_RECORD = 16 * 1024


class TlsSession:
    """The client's side of one TLS connection.

    Args:
        context: Which certificates to trust and to show.
        server_name: What the server's certificate must be for.

    Attributes:
        failure: The error that the connection ended with; `decrypt` raises it after the bytes that
            came before it.
    """

    def __init__(self, context: ssl.SSLContext, server_name: str) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name)
        self.failure: OSError | None = None

    @property
    def version(self) -> str | None:
        """The version agreed upon, such as ``"TLSv1.3"``; None before the handshake is done."""
        return self._tls.version()

    @property
    def certificate_ends(self) -> float | None:
        """Until when the peer's certificate is valid (`time.time`); None where it was not verified."""
        ends = (self._tls.getpeercert() or {}).get("notAfter")
        return ssl.cert_time_to_seconds(ends) if isinstance(ends, str) else None

    def shake_hands(self, received: bytes) -> bool:
        """Go on with the handshake; return whether it is done. Afterwards, `to_send` has something, done or not.

        Args:
            received: What has arrived; ``b""`` at the beginning.

        Raises:
            ssl.SSLError: It failed.
        """
        if received:
            self._incoming.write(received)
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def end_of_input(self) -> None:
        """Note that the peer has closed the connection."""
        self._incoming.write_eof()

    def encrypt(self, data: bytes | memoryview) -> int:
        """Take bytes to send, which come out of `to_send`; return how many were taken.

        Raises:
            ssl.SSLError: The connection can no longer be written to.
        """
        try:
            return self._tls.write(data)
        except ssl.SSLWantReadError:
            # The server wants to negotiate anew first: what it sends goes on with that.
            return 0

    def decrypt(self, received: bytes) -> bytes:
        """Return what was said in the bytes that have arrived.

        Raises:
            ssl.SSLError: The bytes are none of this connection, or the peer sent an alert.
            ConnectionResetError: The peer has said goodbye.
        """
        self._incoming.write(received)
        parts = []
        while self.failure is None:
            try:
                part = self._tls.read(_RECORD)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLZeroReturnError:
                part = b""
            except ssl.SSLError as error:
                self.failure = error
                break
            if not part:
                self.failure = ConnectionResetError("the broker closed the connection")
                break
            parts.append(part)
        if not parts and self.failure is not None:
            raise self.failure
        return b"".join(parts)

    def to_send(self) -> bytes:
        """Return, once, what the socket should send."""
        return self._outgoing.read()

    def say_goodbye(self) -> None:
        """End the writing side (``close_notify``); the peer's answer is not waited for."""
        try:
            self._tls.unwrap()
        except ssl.SSLError:
            # It wants to read the answer; or the connection had failed already, and there is no peer to tell.
            return
