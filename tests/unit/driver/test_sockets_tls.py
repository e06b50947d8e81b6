"""The socket of a connection over TLS, on a loopback: partial sends, records, alerts and ends."""

import socket as stdlib_socket
import ssl as stdlib_ssl
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
import trustme
from gevent import socket, ssl

from amphora.driver.progress import Silence
from amphora.driver.sockets import BatchingSocket
from amphora.driver.tls_faults import NoTls, TlsPort
from tests.unit.driver.test_sockets import BANNER, LARGE, Peer, WatchedSocket, waiting


class TlsPeer(Peer):
    """The other end of a TLS connection, which reads only when told to."""

    def __init__(self, authority: trustme.CA) -> None:
        super().__init__()
        self._context = ssl.SSLContext(stdlib_ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(self._context)
        # What TLS 1.3 would send of itself after the handshake: nothing arrives here but what a test sends.
        self._context.num_tickets = 0

    def accept(self) -> None:
        super().accept()
        self.socket = self._context.wrap_socket(self.socket, server_side=True, suppress_ragged_eofs=False)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def context(authority: trustme.CA) -> stdlib_ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
def peer(authority: trustme.CA) -> Iterator[TlsPeer]:
    peer = TlsPeer(authority)
    yield peer
    peer.socket.close()
    peer.listener.close()


@pytest.fixture
def sock(peer: TlsPeer, context: stdlib_ssl.SSLContext) -> Iterator[BatchingSocket]:
    """A connected socket; the peer has read the protocol header."""
    sock = BatchingSocket(peer.address, connect_timeout=10, tls=(context, "localhost"))
    accepting = gevent.spawn(peer.accept)
    sock.connect()
    accepting.get(timeout=10)
    assert peer.receive(len(BANNER)) == BANNER
    yield sock
    sock.close()


@pytest.fixture
def watched(sock: BatchingSocket) -> WatchedSocket:
    watched = WatchedSocket(sock.sock)
    sock.sock = watched
    return watched


def receive(sock: BatchingSocket, size: int) -> bytes:
    data = b""
    with gevent.Timeout(20):
        while len(data) < size:
            sock.wait()
            data += sock.receive()
    return data


# Sending.


def test_writing_never_blocks_and_loses_nothing(sock: BatchingSocket, peer: TlsPeer) -> None:
    with gevent.Timeout(20):
        sock.write_frames(LARGE)
        gevent.sleep(0)
        sock.write_frames(b"after")

    assert peer.receive(len(LARGE) + 5) == LARGE + b"after"


@pytest.mark.parametrize("most", [1, 7, 1000])
def test_what_a_send_leaves_over_follows_in_order(
    sock: BatchingSocket, watched: WatchedSocket, peer: TlsPeer, most: int
) -> None:
    watched.most = most

    for number in range(50):
        sock.write_frames(bytes([number]) * 20)
        if number % 10 == 0:
            gevent.sleep(0)

    assert peer.receive(1000) == b"".join(bytes([number]) * 20 for number in range(50))


def test_frames_of_one_turn_are_encrypted_and_sent_together(
    sock: BatchingSocket, watched: WatchedSocket, peer: TlsPeer
) -> None:
    for frame in (b"one", b"two", b"three"):
        sock.write_frames(frame)

    assert peer.receive(11) == b"onetwothree"
    assert len(watched.sends) == 1


def test_frames_that_wait_for_a_negotiation_are_sent_after_the_peer_has_spoken(
    sock: BatchingSocket, peer: TlsPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sock._session is not None
    with monkeypatch.context() as patch:
        patch.setattr(sock._session, "encrypt", lambda _: 0)
        sock.write_frames(b"held", at_once=True)
        sock.write_frames(b"too", at_once=True)
        owner = waiting(sock.wait)

    peer.socket.sendall(b"negotiated")
    owner.get(timeout=10)

    assert sock.receive() == b"negotiated"
    assert peer.receive(7) == b"heldtoo"


def test_what_is_queued_is_sent_before_a_goodbye(sock: BatchingSocket, peer: TlsPeer) -> None:
    sock.write_frames(b"farewell")

    sock.close()

    # A ragged end, without close_notify, would raise.
    assert peer.receive_all() == b"farewell"


def test_closing_does_not_wait_for_a_peer_that_reads_nothing(sock: BatchingSocket, peer: TlsPeer) -> None:
    sock.write_frames(LARGE, at_once=True)

    with gevent.Timeout(10):
        sock.close()

    assert sock.sock is None


# Receiving.


def test_all_that_has_arrived_comes_in_order(sock: BatchingSocket, peer: TlsPeer) -> None:
    sending = gevent.spawn(peer.socket.sendall, LARGE)

    assert receive(sock, len(LARGE)) == LARGE
    sending.get()


def test_many_records_come_with_one_wait(sock: BatchingSocket, peer: TlsPeer) -> None:
    for number in range(20):
        peer.socket.sendall(bytes([number]))

    received = receive(sock, 20)

    assert received == bytes(range(20))
    # None of them hides where no new bytes would bring it out.
    waiting(sock.wait).kill()


def test_both_directions_may_be_full_at_once(sock: BatchingSocket, peer: TlsPeer) -> None:
    sock.write_frames(LARGE)
    sending = gevent.spawn(peer.socket.sendall, LARGE)
    reading = gevent.spawn(peer.receive, len(LARGE))

    assert receive(sock, len(LARGE)) == LARGE
    assert reading.get(timeout=20) == LARGE
    sending.get()


# Ends.


def test_an_orderly_end_is_an_error_after_the_last_bytes(sock: BatchingSocket, peer: TlsPeer) -> None:
    peer.socket.sendall(b"last words")
    saying_goodbye = gevent.spawn(peer.socket.unwrap)

    assert receive(sock, 10) == b"last words"
    with gevent.Timeout(10), pytest.raises(ConnectionResetError, match="the broker closed the connection"):
        receive(sock, 1)
    saying_goodbye.kill()


def test_an_end_without_a_goodbye_is_an_error(sock: BatchingSocket, peer: TlsPeer) -> None:
    peer.socket.sendall(b"last words")
    receive(sock, 10)

    # Of the TCP connection: TLS's own goodbye would be `unwrap`.
    peer.socket.shutdown(socket.SHUT_RDWR)
    sock.wait()

    with pytest.raises(ConnectionResetError, match=r"the broker closed the connection$"):
        sock.receive()


def test_an_end_before_any_word_suggests_a_client_certificate(sock: BatchingSocket, peer: TlsPeer) -> None:
    # Of the TCP connection: TLS's own goodbye would be `unwrap`.
    peer.socket.shutdown(socket.SHUT_RDWR)
    sock.wait()

    with pytest.raises(ConnectionResetError, match=r"right after the TLS handshake .*client certificate"):
        sock.receive()


def test_the_peers_reason_is_read_although_sending_has_failed(
    sock: BatchingSocket, watched: WatchedSocket, peer: TlsPeer
) -> None:
    peer.socket.sendall(b"the reason")
    watched.error = BrokenPipeError("Broken pipe")
    wait_readable(sock)
    sock.write_frames(b"frame", at_once=True)

    sock.wait()

    assert sock.receive() == b"the reason"
    with pytest.raises(BrokenPipeError):
        sock.wait()


def wait_readable(sock: BatchingSocket) -> None:
    with gevent.Timeout(10):
        socket.wait_read(sock.sock.fileno())


# Handshakes.


def test_a_port_that_answers_in_plain_amqp_is_told_apart(context: stdlib_ssl.SSLContext) -> None:
    error = connecting_to(lambda connection: connection.sendall(BANNER), tls=(context, "localhost"))

    assert isinstance(error, NoTls)


def test_a_port_that_answers_plain_amqp_with_an_alert_is_told_apart() -> None:
    error = connecting_to(lambda connection: connection.sendall(b"\x15\x03\x03\x00\x02\x02\x46"), tls=None)

    assert isinstance(error, TlsPort)


def test_a_port_that_answers_anything_else_is_a_tls_error(context: stdlib_ssl.SSLContext) -> None:
    error = connecting_to(
        lambda connection: connection.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n"), tls=(context, "localhost")
    )

    assert isinstance(error, stdlib_ssl.SSLError)
    assert error.reason == "WRONG_VERSION_NUMBER"


def test_a_port_that_ends_the_handshake_is_a_tls_error(context: stdlib_ssl.SSLContext) -> None:
    error = connecting_to(lambda connection: connection.shutdown(socket.SHUT_WR), tls=(context, "localhost"))

    assert isinstance(error, stdlib_ssl.SSLEOFError)


def test_a_handshake_that_is_never_answered_ends(context: stdlib_ssl.SSLContext) -> None:
    error = connecting_to(lambda _: None, tls=(context, "localhost"), timeout=0.1)

    assert isinstance(error, Silence)
    assert isinstance(error, stdlib_socket.timeout)


def connecting_to(
    answer: Callable[[socket.socket], None],
    *,
    tls: tuple[stdlib_ssl.SSLContext, str] | None,
    timeout: float = 10,
) -> Any:
    """Return the error of connecting to, and receiving from, a peer that answers the first bytes so."""
    peer = Peer()

    def serve() -> None:
        peer.accept()
        peer.socket.recv(65536)
        answer(peer.socket)

    serving = gevent.spawn(serve)
    sock = BatchingSocket(peer.address, connect_timeout=timeout, tls=tls)
    try:
        with gevent.Timeout(20):
            sock.connect()
            while True:
                sock.wait()
                sock.receive()
    except OSError as error:
        return error
    finally:
        serving.get(timeout=10)
        sock.close()
        peer.socket.close()
        peer.listener.close()
