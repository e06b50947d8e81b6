"""A TCP proxy that breaks connections in the ways that networks do."""

import struct
from collections import Counter
from contextlib import suppress
from typing import Literal

import gevent
import port_for
from gevent import socket
from gevent.event import Event
from gevent.pool import Group

HOST = "127.0.0.1"

Direction = Literal["to_server", "to_client"]
DIRECTIONS: tuple[Direction, Direction] = ("to_server", "to_client")

_CHUNK = 65536
# A throttled direction sends this often a second.
_TICKS = 50
# SO_LINGER on, for 0 seconds: closing sends a reset (RST) instead of an orderly end (FIN).
_RESET = struct.pack("ii", 1, 0)


class Proxy:
    """Passes TCP connections on to a port of this machine until it is told to do harm.

    It runs on gevent, in this process: it works while the code under test waits, as that does on gevent too.
    Connections made while it is stalled, throttled or black-holed are treated like those there are.
    """

    def __init__(self, target_port: int) -> None:
        """Listen on a free port at once."""
        self.target_port = target_port
        self.port = port_for.select_random()
        self.accepted = 0
        """Connections accepted so far."""
        self.bytes: Counter[Direction] = Counter()
        """Bytes passed on so far, by direction."""
        self._links: set[_Link] = set()
        self._flows: dict[Direction, Event] = {direction: Event() for direction in DIRECTIONS}
        self._swallowing = False
        self._rate: int | None = None
        self._cut_at: dict[Direction, tuple[int, Event]] = {}
        self._listener: socket.socket | None = None
        self._acceptor: gevent.Greenlet[..., None] | None = None
        for flow in self._flows.values():
            flow.set()
        self.accept()

    def __repr__(self) -> str:
        return f"<Proxy {self.port} -> {self.target_port}, {self.open_connections} connections>"

    def __enter__(self) -> "Proxy":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The AMQP URL of the broker behind this proxy, as the user guest in the default virtual host."""
        return f"amqp://guest:guest@{HOST}:{self.port}//"

    @property
    def open_connections(self) -> int:
        """How many connections are open now."""
        return len(self._links)

    # Breaking connections.

    def cut(self) -> None:
        """Break all connections at once, on both sides, with a reset (RST)."""
        for link in list(self._links):
            link.reset()

    def cut_after(self, count: int, direction: Direction = "to_server") -> Event:
        """Break all connections when exactly `count` more bytes have passed in one direction.

        The bytes before the cut reach the other side: it sees an orderly end (FIN) in the middle of
        whatever it was reading. The sender gets a reset.

        Returns:
            An event that is set once it has happened.
        """
        happened = Event()
        self._cut_at[direction] = (self.bytes[direction] + count, happened)
        return happened

    def stall(self, *directions: Direction) -> None:
        """Pass nothing on (in the directions named, or in both) and lose nothing; connections stay open."""
        for direction in directions or DIRECTIONS:
            self._flows[direction].clear()

    def blackhole(self) -> None:
        """Take what comes and pass nothing on, not even ends of connections, as when a cable is pulled.

        New connections are accepted, and swallowed too.
        """
        self._swallowing = True

    def throttle(self, bytes_per_second: int | None) -> None:
        """Pass on so many bytes a second in each direction of each connection; None for all there are."""
        self._rate = bytes_per_second

    def resume(self) -> None:
        """End a stall or black hole; a connection that the black hole took bytes from is reset."""
        self._swallowing = False
        for link in list(self._links):
            if link.swallowed:
                link.reset()
        for flow in self._flows.values():
            flow.set()

    def refuse(self) -> None:
        """Refuse new connections (the port stays ours); those there are go on."""
        self._stop_listening()
        # Bound and not listening: the system answers with a reset, and nobody else gets the port meanwhile.
        self._listener = _bound(self.port)

    def accept(self) -> None:
        """Accept connections, as from the start."""
        self._stop_listening()
        self._listener = _bound(self.port)
        self._listener.listen(128)
        self._acceptor = gevent.spawn(self._accept_all, self._listener)

    def close(self) -> None:
        """Reset all connections and stop listening."""
        self._stop_listening()
        self.cut()

    # How it is done.

    def _stop_listening(self) -> None:
        if self._acceptor is not None:
            self._acceptor.kill()
            self._acceptor = None
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def _accept_all(self, listener: socket.socket) -> None:
        while True:
            client, _ = listener.accept()
            self.accepted += 1
            link = _Link(self, client)
            self._links.add(link)
            link.start()

    def _forget(self, link: "_Link") -> None:
        self._links.discard(link)

    def _pass_on(self, link: "_Link", data: bytes, direction: Direction) -> None:
        """Do with received bytes what is in force now; whatever is sent is counted."""
        while data:
            self._flows[direction].wait()
            if self._swallowing:
                link.swallowed = True
                return
            part = data[: self._room(direction)]
            link.send(part, direction)
            data = data[len(part) :]
            self.bytes[direction] += len(part)
            if self._is_due(direction):
                return
            if self._rate is not None:
                gevent.sleep(len(part) / self._rate)

    def _room(self, direction: Direction) -> int:
        """Return how many bytes may be sent at once."""
        room = _CHUNK if self._rate is None else max(1, self._rate // _TICKS)
        if direction in self._cut_at:
            room = min(room, self._cut_at[direction][0] - self.bytes[direction])
        return room

    def _is_due(self, direction: Direction) -> bool:
        """Cut now if the last byte before a cut has passed."""
        if direction not in self._cut_at or self.bytes[direction] < self._cut_at[direction][0]:
            return False
        _, happened = self._cut_at.pop(direction)
        for link in list(self._links):
            link.end(direction)
        happened.set()
        return True


class _Link:
    """One client's connection and the one to the target that belongs to it."""

    def __init__(self, proxy: Proxy, client: socket.socket) -> None:
        self.swallowed = False
        self._proxy = proxy
        self._client = client
        self._server: socket.socket | None = None
        self._greenlets = Group()

    def start(self) -> None:
        self._greenlets.spawn(self._run)

    def send(self, data: bytes, direction: Direction) -> None:
        self._side(direction).sendall(data)

    def reset(self) -> None:
        """Break both connections with a reset."""
        for side in self._sides():
            with suppress(OSError):
                side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._close()

    def end(self, direction: Direction) -> None:
        """Let the receiving side see all that was sent and then an end; the sending side gets a reset."""
        with suppress(OSError):
            self._side(direction).shutdown(socket.SHUT_WR)
        sender = self._client if direction == "to_server" else self._side("to_server")
        with suppress(OSError):
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._close()

    def _run(self) -> None:
        try:
            self._server = socket.create_connection((HOST, self._proxy.target_port))
        except OSError:
            # What a client of a proxy before a dead target sees: accepted, and gone.
            self.reset()
            return
        for side in self._sides():
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pumps = [self._greenlets.spawn(self._pump, direction) for direction in DIRECTIONS]
        gevent.joinall(pumps)
        self._close()

    def _pump(self, direction: Direction) -> None:
        """Move bytes in one direction until the end of the connection, and pass that on too."""
        source = self._client if direction == "to_server" else self._side("to_server")
        try:
            while data := source.recv(_CHUNK):
                self._proxy._pass_on(self, data, direction)
        except OSError:
            # A reset by one side is one for the other, unless a black hole swallows it.
            if not self._proxy._swallowing:
                self.reset()
                return
        self._wait_for_the_end_of_a_black_hole()
        with suppress(OSError):
            self._side(direction).shutdown(socket.SHUT_WR)

    def _wait_for_the_end_of_a_black_hole(self) -> None:
        """Hold an end of a connection back for as long as nothing may pass; `resume` then resets the link."""
        if self._proxy._swallowing:
            self.swallowed = True
            Event().wait()

    def _side(self, direction: Direction) -> socket.socket:
        """Return the socket that bytes of this direction are sent to."""
        if direction == "to_client":
            return self._client
        if self._server is None:
            raise OSError("not connected to the target")
        return self._server

    def _sides(self) -> list[socket.socket]:
        return [self._client] if self._server is None else [self._client, self._server]

    def _close(self) -> None:
        self._proxy._forget(self)
        for side in self._sides():
            side.close()
        # The greenlet that does this may be one of them.
        current = gevent.getcurrent()
        for greenlet in list(self._greenlets):
            if greenlet is not current:
                greenlet.kill(block=False)


def _bound(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((HOST, port))
    return listener
