"""The socket of a connection, on a loopback: joined writes, partial sends, ends, and waking up."""

import errno
import struct
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
from gevent import socket

from amphora.driver.frames import HEARTBEAT
from amphora.driver.progress import Silence
from amphora.driver.sockets import BatchingSocket
from tests.support.eventually import wait_until

BANNER = b"AMQP\x00\x00\x09\x01"

#: Far more than the buffers of a connection hold.
LARGE = bytes(range(256)) * 40_000


class Peer:
    """The other end of a connection, which reads only when told to."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.socket: socket.socket

    def accept(self) -> None:
        self.socket, _ = self.listener.accept()

    def receive(self, size: int) -> bytes:
        data = b""
        with gevent.Timeout(20):
            while len(data) < size:
                part = self.socket.recv(size - len(data))
                assert part, f"the connection ended after {len(data)} of {size} bytes"
                data += part
        return data

    def receive_all(self) -> bytes:
        with gevent.Timeout(20):
            return b"".join(iter(lambda: self.socket.recv(65536), b""))

    def reset(self) -> None:
        """Close with RST instead of FIN."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


class WatchedSocket:
    """A socket that counts its sends, and can be told to take little at a time or to fail."""

    def __init__(self, real: Any) -> None:
        self._real = real
        self.sends: list[int] = []
        self.most: int | None = None
        self.error: OSError | None = None

    def send(self, data: bytes) -> int:
        self.sends.append(len(data))
        if self.error is not None:
            raise self.error
        return int(self._real.send(data if self.most is None else data[: self.most]))

    def sendmsg(self, pieces: list[bytes]) -> int:
        return self.send(b"".join(pieces))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


@pytest.fixture
def peer() -> Iterator[Peer]:
    peer = Peer()
    yield peer
    peer.socket.close()
    peer.listener.close()


@pytest.fixture
def sock(peer: Peer) -> Iterator[BatchingSocket]:
    """A connected socket; the peer has read the protocol header."""
    sock = BatchingSocket(peer.address, connect_timeout=10, tls=None)
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


def waiting(action: Callable[[], Any]) -> "gevent.Greenlet[[], Any]":
    """Start something that waits, and return when it does."""
    greenlet = gevent.spawn(action)
    gevent.sleep(0)
    assert not greenlet.ready()
    return greenlet


# Sending.


def test_frames_of_one_turn_leave_in_one_send(sock: BatchingSocket, watched: WatchedSocket, peer: Peer) -> None:
    for frame in (b"one", b"two", b"three"):
        sock.write_frames(frame)
    assert watched.sends == []

    assert peer.receive(11) == b"onetwothree"
    assert watched.sends == [11]


def test_a_frame_can_be_sent_at_once(sock: BatchingSocket, watched: WatchedSocket, peer: Peer) -> None:
    sock.write_frames(b"now", at_once=True)

    assert watched.sends == [3]
    assert peer.receive(3) == b"now"


def test_a_frame_sent_at_once_does_not_overtake_others(
    sock: BatchingSocket, watched: WatchedSocket, peer: Peer
) -> None:
    sock.write_frames(b"first")
    sock.write_frames(b"second", at_once=True)

    assert peer.receive(11) == b"firstsecond"
    assert watched.sends == [11]


def test_the_buffer_that_py_amqp_uses_again_is_copied(sock: BatchingSocket, peer: Peer) -> None:
    buffer = bytearray(b"frame")

    sock.write(memoryview(buffer))
    buffer[:] = b"other"

    assert peer.receive(5) == b"frame"


def test_writing_never_blocks_and_loses_nothing(sock: BatchingSocket, peer: Peer) -> None:
    with gevent.Timeout(20):
        sock.write_frames(LARGE)
        gevent.sleep(0)
        sock.write_frames(b"after")

    assert peer.receive(len(LARGE) + 5) == LARGE + b"after"


@pytest.mark.parametrize("most", [1, 7, 100])
def test_what_a_send_leaves_over_follows_in_order(
    sock: BatchingSocket, watched: WatchedSocket, peer: Peer, most: int
) -> None:
    watched.most = most

    for number in range(50):
        sock.write_frames(bytes([number]) * 20)
        if number % 10 == 0:
            gevent.sleep(0)

    assert peer.receive(1000) == b"".join(bytes([number]) * 20 for number in range(50))


def test_what_is_queued_leaves_when_the_owner_waits(sock: BatchingSocket, watched: WatchedSocket, peer: Peer) -> None:
    sock.write_frames(b"frame")
    waiting(sock.wait)

    assert watched.sends == [5]
    assert peer.receive(5) == b"frame"


def test_who_was_woken_before_something_was_queued_runs_before_it_is_sent(
    sock: BatchingSocket, watched: WatchedSocket, peer: Peer
) -> None:
    # A caller whose reply is here sends its next request before the reply is acknowledged.
    caller = gevent.spawn(lambda: list(watched.sends))
    sock.write_frames(b"ack")
    owner = waiting(sock.wait)

    assert caller.get(timeout=10) == []
    assert watched.sends == [3]
    sock.wake()
    owner.get(timeout=10)


@pytest.mark.parametrize("most", [1, 7, 1000, 33_000, None])
def test_large_bodies_are_sent_in_pieces_and_in_order(
    sock: BatchingSocket, watched: WatchedSocket, peer: Peer, most: int | None
) -> None:
    watched.most = most
    body = memoryview(LARGE)[:40_000]

    sock.write_frames(b"first", body[:30_000], b"-", body[30_000:])
    sock.write_frames(b"last")

    assert peer.receive(40_010) == b"first" + LARGE[:30_000] + b"-" + LARGE[30_000:40_000] + b"last"
    assert sock._outgoing == []


def test_what_is_queued_is_sent_before_closing(sock: BatchingSocket, peer: Peer) -> None:
    sock.write_frames(b"farewell")

    sock.close()

    assert peer.receive_all() == b"farewell"


def test_the_times_of_the_last_bytes_are_kept(sock: BatchingSocket, peer: Peer) -> None:
    sock.last_sent = sock.last_received = 0.0

    sock.write_frames(b"x", at_once=True)
    sent = sock.last_sent
    peer.socket.sendall(b"y")
    sock.wait()
    sock.receive()

    assert 0.0 < sent <= sock.last_received


# Receiving.


def test_nothing_is_received_where_nothing_has_arrived(sock: BatchingSocket) -> None:
    assert sock.receive() == b""


def test_the_owner_waits_until_bytes_arrive(sock: BatchingSocket, peer: Peer) -> None:
    owner = waiting(sock.wait)

    peer.socket.sendall(b"frame")
    owner.get(timeout=10)

    assert sock.receive() == b"frame"
    assert sock.receive() == b""


def test_all_that_has_arrived_comes_in_order(sock: BatchingSocket, peer: Peer) -> None:
    sending = gevent.spawn(peer.socket.sendall, LARGE)
    received = b""

    with gevent.Timeout(20):
        while len(received) < len(LARGE):
            sock.wait()
            received += sock.receive()

    assert received == LARGE
    sending.get()


# Waking up.


def test_waking_ends_a_wait(sock: BatchingSocket) -> None:
    owner = waiting(sock.wait)

    sock.wake()

    owner.get(timeout=10)


def test_waking_before_a_wait_ends_the_next_one(sock: BatchingSocket) -> None:
    sock.wake()

    with gevent.Timeout(10):
        sock.wait()


def test_many_wakes_end_one_wait(sock: BatchingSocket) -> None:
    for _ in range(3):
        sock.wake()
    sock.wait()

    owner = waiting(sock.wait)

    owner.kill()


def test_waking_and_bytes_at_the_same_time_end_one_wait_and_lose_no_bytes(sock: BatchingSocket, peer: Peer) -> None:
    owner = waiting(sock.wait)

    peer.socket.sendall(b"frame")
    sock.wake()
    owner.get(timeout=10)
    if not (data := sock.receive()):
        sock.wait()
        data = sock.receive()

    assert data == b"frame"
    waiting(sock.wait).kill()


def test_a_wait_that_was_killed_does_not_spoil_the_next(sock: BatchingSocket) -> None:
    waiting(sock.wait).kill()

    owner = waiting(sock.wait)
    sock.wake()

    owner.get(timeout=10)


# Ends.


def test_a_peer_that_closes_ends_the_wait_and_is_an_error(sock: BatchingSocket, peer: Peer) -> None:
    owner = waiting(sock.wait)

    peer.socket.close()
    owner.get(timeout=10)

    with pytest.raises(ConnectionResetError, match="the broker closed the connection"):
        sock.receive()


def test_bytes_before_the_end_are_still_received(sock: BatchingSocket, peer: Peer) -> None:
    peer.socket.sendall(b"last words")
    peer.socket.close()
    sock.wait()

    assert sock.receive() == b"last words"
    with pytest.raises(ConnectionResetError):
        sock.receive()


def test_a_peer_that_resets_is_an_error(sock: BatchingSocket, peer: Peer) -> None:
    owner = waiting(sock.wait)

    peer.reset()
    owner.get(timeout=10)

    with pytest.raises(OSError, match="reset"):
        sock.receive()


def test_a_failed_send_wakes_the_owner_with_its_error(sock: BatchingSocket, watched: WatchedSocket) -> None:
    watched.error = BrokenPipeError(errno.EPIPE, "Broken pipe")
    owner = waiting(sock.wait)

    sock.write_frames(b"frame")

    with pytest.raises(BrokenPipeError):
        owner.get(timeout=10)


def test_a_failed_send_is_told_to_the_owner_later_if_it_does_not_wait(
    sock: BatchingSocket, watched: WatchedSocket
) -> None:
    watched.error = BrokenPipeError(errno.EPIPE, "Broken pipe")

    sock.write_frames(b"frame", at_once=True)
    sock.write_frames(b"more", at_once=True)

    assert watched.sends == [5]
    with pytest.raises(BrokenPipeError):
        sock.wait()


def test_what_the_peer_said_is_read_before_a_failed_send_is_an_error(
    sock: BatchingSocket, watched: WatchedSocket, peer: Peer
) -> None:
    peer.socket.sendall(b"the reason")
    with gevent.Timeout(10):
        socket.wait_read(sock.sock.fileno())
    watched.error = BrokenPipeError(errno.EPIPE, "Broken pipe")
    sock.write_frames(b"frame", at_once=True)

    sock.wait()

    assert sock.receive() == b"the reason"
    with pytest.raises(BrokenPipeError):
        sock.wait()
    sock.close()
    with pytest.raises(BrokenPipeError):
        sock.wait()


def test_a_large_remainder_is_not_copied_again_for_every_frame(
    sock: BatchingSocket, watched: WatchedSocket, peer: Peer
) -> None:
    watched.most = 1000
    sock.write_frames(LARGE[:300_000], at_once=True)
    (remainder,) = sock._outgoing
    sock.write_frames(b"after")

    sock._on_writable()

    assert sock._outgoing[0].obj is remainder.obj  # type: ignore[union-attr]
    watched.most = None
    assert peer.receive(300_005) == LARGE[:300_000] + b"after"


def test_a_closed_socket_neither_waits_nor_receives(sock: BatchingSocket) -> None:
    sock.close()

    for action in (sock.wait, sock.receive):
        with pytest.raises(OSError, match="the connection is closed") as caught:
            action()
        assert caught.value.errno == errno.ENOTCONN


def test_closing_twice_and_writing_afterwards_is_harmless(sock: BatchingSocket) -> None:
    sock.close()
    sock.close()
    sock.write_frames(b"too late", at_once=True)
    sock.wake()

    assert sock.sock is None


def test_nobody_at_the_address_is_an_error(peer: Peer) -> None:
    peer.socket = peer.listener
    peer.listener.close()

    with pytest.raises(ConnectionRefusedError):
        BatchingSocket(peer.address, connect_timeout=10, tls=None).connect()


# What moves, for `AnswerWatch`.


def test_bytes_that_leave_and_arrive_have_moved_but_not_those_of_heartbeats(sock: BatchingSocket, peer: Peer) -> None:
    sock.last_moved = 0.0
    sock.write_frames(HEARTBEAT, at_once=True)
    peer.socket.sendall(HEARTBEAT)
    sock.wait()
    assert sock.receive() == HEARTBEAT
    assert sock.last_moved == 0.0

    sock.write_frames(b"x" * len(HEARTBEAT), at_once=True)
    assert sock.last_moved == sock.last_sent

    sock.last_moved = 0.0
    peer.socket.sendall(b"x" * len(HEARTBEAT))
    sock.wait()
    sock.receive()
    assert sock.last_moved == sock.last_received


def test_bytes_are_counted_while_they_are_queued_sent_and_acknowledged(sock: BatchingSocket, peer: Peer) -> None:
    began = sock.sent
    assert (sock.unsent(), sock.has_arrived()) == (0, False)

    sock.write_frames(LARGE, at_once=True)

    assert sock.sent - began + sock.unsent() == len(LARGE)
    assert 0 < sock.unsent() < len(LARGE)
    assert sock.unacknowledged() > 0
    gone = waiting(lambda: [sock.wait(), sock.wait()])
    assert peer.receive(len(LARGE)) == LARGE
    wait_until(lambda: (sock.unsent(), sock.unacknowledged()) == (0, 0))
    assert sock.sent - began == len(LARGE)
    gone.kill()
    peer.socket.sendall(b"x")
    wait_until(sock.has_arrived)


def test_the_end_of_a_connection_has_arrived_too(sock: BatchingSocket, peer: Peer) -> None:
    peer.socket.close()

    wait_until(sock.has_arrived)
    sock.close()
    assert (sock.has_arrived(), sock.unacknowledged()) == (False, 0)


# Several addresses.


def test_the_first_address_that_says_something_is_taken(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.2", 0)) as silent, socket.create_server(("127.0.0.3", 0)) as other:
        dead = other.getsockname()
        other.close()
        # Nothing is expected of the last one before it is taken.
        addresses = [dead, silent.getsockname(), peer.listener.getsockname(), (*dead[:1], 1)]
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_: found)
        sock = BatchingSocket("many.example:5672", connect_timeout=1.0, tls=None)
        accepting = gevent.spawn(peer.accept)
        talking = gevent.spawn(lambda: (accepting.join(), peer.socket.sendall(b"hello")))

        sock.connect()

        talking.join()
        sock.wait()
        assert sock.receive() == b"hello"
        peer.socket.sendall(b" again")
        with gevent.Timeout(10):
            sock.wait()
        assert sock.receive() == b" again"
        assert peer.receive(len(BANNER)) == BANNER
        sock.close()


def test_a_connection_that_is_never_made_has_a_second_limit(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BatchingSocket, "_setup_transport", lambda _: gevent.sleep(60))
    sock = BatchingSocket(peer.address, connect_timeout=0.02, tls=None)
    accepting = gevent.spawn(peer.accept)

    with pytest.raises(Silence, match="not made within"):
        sock.connect()

    accepting.join()
    assert sock.sock is None
