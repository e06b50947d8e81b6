"""The proxy of the test suite does the harm that it promises."""

from collections.abc import Iterator

import gevent
import pytest
from gevent import socket

from tests.support.eventually import wait_until
from tests.support.proxy import HOST, Proxy


class Target:
    """A server that keeps what it receives."""

    def __init__(self) -> None:
        self.listener = socket.create_server((HOST, 0))
        self.port: int = self.listener.getsockname()[1]
        self.connections: list[socket.socket] = []
        self.received = b""
        self.ends: list[str] = []
        self.acceptor = gevent.spawn(self.accept_all)

    def accept_all(self) -> None:
        while True:
            connection, _ = self.listener.accept()
            self.connections.append(connection)
            gevent.spawn(self.receive_all, connection)

    def receive_all(self, connection: socket.socket) -> None:
        try:
            while data := connection.recv(65536):
                self.received += data
            self.ends.append("FIN")
        except ConnectionResetError:
            self.ends.append("RST")
        except OSError:
            self.ends.append("closed here")

    def close(self) -> None:
        self.acceptor.kill()
        for connection in [self.listener, *self.connections]:
            connection.close()


@pytest.fixture
def target() -> Iterator[Target]:
    target = Target()
    yield target
    target.close()


@pytest.fixture
def proxy(target: Target) -> Iterator[Proxy]:
    with Proxy(target.port) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: Proxy, target: Target) -> Iterator[socket.socket]:
    with socket.create_connection((HOST, proxy.port)) as client:
        client.settimeout(5)
        wait_until(lambda: target.connections)
        yield client


def receive_nothing(client: socket.socket, seconds: float = 0.1) -> bool:
    """Say whether nothing, not even an end, comes in for a while."""
    client.settimeout(seconds)
    try:
        client.recv(1)
    except TimeoutError:
        return True
    finally:
        client.settimeout(5)
    return False


def test_bytes_pass_in_both_directions_and_are_counted(proxy, target, client):
    client.sendall(b"question")
    wait_until(lambda: target.received == b"question")
    target.connections[0].sendall(b"answer")

    assert client.recv(100) == b"answer"
    assert proxy.bytes == {"to_server": 8, "to_client": 6}
    assert (proxy.accepted, proxy.open_connections) == (1, 1)


def test_an_orderly_end_is_passed_on(proxy, target, client):
    client.sendall(b"last words")
    client.close()

    wait_until(lambda: target.ends == ["FIN"])
    assert target.received == b"last words"


def test_a_cut_resets_both_sides(proxy, target, client):
    proxy.cut()

    with pytest.raises(ConnectionResetError):
        client.recv(1)
    wait_until(lambda: target.ends == ["RST"])
    assert proxy.open_connections == 0


def test_a_cut_after_some_bytes_delivers_exactly_those(proxy, target, client):
    happened = proxy.cut_after(5, "to_server")

    client.sendall(b"abc")
    client.sendall(b"defghi")

    assert happened.wait(5)
    wait_until(lambda: target.ends == ["FIN"])
    assert target.received == b"abcde"
    with pytest.raises(ConnectionResetError):
        client.recv(1)


def test_a_cut_towards_the_client_delivers_exactly_those_bytes_too(proxy, target, client):
    proxy.cut_after(3, "to_client")

    target.connections[0].sendall(b"abcdef")

    assert client.recv(100) == b"abc"
    assert client.recv(100) == b""


def test_a_stall_delays_and_loses_nothing(proxy, target, client):
    proxy.stall()
    client.sendall(b"held")
    target.connections[0].sendall(b"held too")
    assert receive_nothing(client)
    assert target.received == b""

    proxy.resume()

    assert client.recv(100) == b"held too"
    wait_until(lambda: target.received == b"held")


def test_one_direction_can_stall_alone(proxy, target, client):
    proxy.stall("to_client")

    client.sendall(b"passes")
    target.connections[0].sendall(b"held")

    wait_until(lambda: target.received == b"passes")
    assert receive_nothing(client)


def test_a_black_hole_swallows_bytes_ends_and_new_connections(proxy, target, client):
    proxy.blackhole()
    client.sendall(b"lost")
    target.connections[0].close()

    assert receive_nothing(client)
    with socket.create_connection((HOST, proxy.port)) as second:
        second.sendall(b"lost too")
        assert receive_nothing(second)
    assert target.received == b""


def test_a_connection_that_lost_bytes_in_a_black_hole_is_reset_after_it(proxy, target, client):
    proxy.blackhole()
    client.sendall(b"lost")
    assert receive_nothing(client)

    proxy.resume()

    with pytest.raises(ConnectionResetError):
        client.recv(1)


def test_refusing_refuses_new_connections_only_until_accepting_again(proxy, target, client):
    proxy.refuse()

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, proxy.port))
    client.sendall(b"goes on")
    wait_until(lambda: target.received == b"goes on")

    proxy.accept()
    socket.create_connection((HOST, proxy.port)).close()


def test_throttling_slows_down(proxy, target, client):
    proxy.throttle(10_000)

    client.sendall(b"x" * 1_000)
    with gevent.Timeout(0.05, False):
        wait_until(lambda: len(target.received) == 1_000)

    assert 0 < len(target.received) < 1_000
    wait_until(lambda: len(target.received) == 1_000)


def test_a_dead_target_looks_like_a_connection_that_breaks(proxy, target):
    target.close()

    with socket.create_connection((HOST, proxy.port), 5) as client, pytest.raises(ConnectionResetError):
        client.recv(1)


def test_a_stalled_proxy_can_be_cut_and_closed(proxy, target, client):
    proxy.stall()
    client.sendall(b"held")
    assert receive_nothing(client)

    proxy.cut()

    with pytest.raises(ConnectionResetError):
        client.recv(1)
    assert target.received == b""
