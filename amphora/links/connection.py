"""One connection to the broker: connect, notice loss, back off, reconnect.

A `Link` drives a `LinkMachine` (`amphora.core.link`), which decides what comes next: it spawns the greenlet that owns
the connection, does its input and output, and tells the machine what came of it. What travels over the connection is
the business of its `Worker`: a publisher or a consumer.
"""

from __future__ import annotations

import math
import os
import random
import socket as stdlib_socket
from collections.abc import Callable
from time import monotonic
from typing import Any, NamedTuple, Protocol, cast

import gevent
import kombu
from gevent import get_hub, getcurrent
from gevent.event import Event

from amphora.core.link import Kind, LinkMachine, LinkOptions, State
from amphora.core.suspicion import LIMIT, Suspicion
from amphora.driver import memory, stock, transport
from amphora.driver.forks import let_go_after_fork
from amphora.driver.ports import ConnectionPort
from amphora.driver.tls import tls_context
from amphora.exceptions import BrokerError
from amphora.interrupts import from_signal, raise_in_main
from amphora.links.faults import Fault, explain
from amphora.links.reconnect_log import ReconnectLog
from amphora.logs.note_log import NoteLogger
from amphora.options.brokers import BrokerAddress
from amphora.options.settings import LinkSettings
from amphora.version import __version__

__all__ = ["BrokerInfo", "Link", "Worker"]

logger = NoteLogger(__name__)

_ATTACHED, _BACKING_OFF, _CONNECTING = State.ATTACHED, State.BACKING_OFF, State.CONNECTING
_DRAINING, _CLOSING = State.DRAINING, State.CLOSING


class BrokerInfo(NamedTuple):
    """What a broker tells of itself when it is connected to.

    Attributes:
        product (str): Its name, such as ``RabbitMQ``.
        version (str): Its version; empty on ``memory://``.
        cluster (str): Name of its cluster, if it has one.
        heartbeat (float): Seconds between heartbeats that were agreed upon; 0 for none.
        tls (str): Version of TLS, such as ``TLSv1.3``; empty without it.
        certificate_ends (float | None): Until when the broker's certificate is valid (`time.time`); None without TLS,
            or where it was not verified.
    """

    product: str
    version: str
    cluster: str
    heartbeat: float
    tls: str = ""
    certificate_ends: float | None = None


class Worker(Protocol):
    """What a `Link` calls, in the greenlet that owns the connection; `detach` may be called in any greenlet."""

    def attach(self, connection: ConnectionPort) -> None:
        """Use this new connection: declare, open channels, take up the work."""

    def work(self) -> None:
        """Do what has piled up; called after everything that arrived, and after `Link.wake`."""

    def detach(self) -> None:
        """The connection is gone; neither waits nor raises."""

    def finish(self) -> None:
        """The connection is about to be closed in good order: say what is still to be said."""


class Link:
    """Keeps one connection to the broker.

    Args:
        name: What operators see: in the log and as the connection's name on the broker.
        settings: Addresses, heartbeat, back-off.
        worker: Uses the connection.
        on_fatal: Called with the error when the first connection can never work; calls `abort`.

    Attributes:
        attached: Set while the connection is up and its worker at work.
        blocked: Whether the broker takes no messages at present.
        broker_info: What the broker said when it was connected to last; None before that.
        ended_by: The driver's error that ended the last connection; None while it is up, and where it was stopped.
        address: The broker that it is connected to, or tries to connect to.
        hint: What is wrong although it is connected, in words; empty for nothing.
    """

    def __init__(
        self,
        name: str,
        settings: LinkSettings,
        worker: Worker,
        *,
        on_fatal: Callable[[BrokerError], None],
    ) -> None:
        self.name = name
        self.attached = Event()
        self.blocked = False
        self.broker_info: BrokerInfo | None = None
        self.ended_by: Exception | None = None
        self.hint = ""
        self._settings = settings
        self._worker = worker
        self._on_fatal = on_fatal
        options = LinkOptions(
            len(settings.brokers),
            settings.reconnect_delay,
            settings.reconnect_delay_max,
            random.random,
        )
        self._machine = LinkMachine(options, _LinkPorts(self))
        self._connection: ConnectionPort | None = None
        self._greenlet: gevent.Greenlet[[int], None] | None = None
        self._timer: Any = None
        self._outage = ReconnectLog(name)
        self._stopped = Event()
        self._trouble: BrokerError | None = None
        self.address = settings.brokers[0]
        let_go_after_fork(self)

    # -- for anyone -------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether it is connected or tries to be."""
        return self._machine.running

    @property
    def stopped(self) -> Event:
        """Set when the link stops the next time."""
        return self._stopped

    @property
    def connected(self) -> bool:
        """Whether the connection is up and its worker at work."""
        return self.attached.is_set()

    @property
    def established(self) -> bool:
        """Whether there is a connection, though its worker may only be about to use it."""
        return self._connection is not None

    @property
    def in_owner(self) -> bool:
        """Whether the greenlet that owns the connection is the current one: it must not wait for the link."""
        return self._greenlet is getcurrent()

    @property
    def reconnects(self) -> int:
        """How many times the connection was made again."""
        return self._machine.reconnects

    @property
    def suspicion(self) -> Suspicion:
        """Which messages broke connections.

        Each connection has it as its attribute ``suspicion``, and keeps the header of the message that it is handling
        in ``in_hand``; see `amphora.core.suspicion`.
        """
        return self._machine.suspicion

    @property
    def trouble(self) -> BrokerError | None:
        """What keeps it from being connected; None while it is connected, and where nothing has failed yet."""
        return self._trouble

    @property
    def state(self) -> str:
        """A phrase for error messages that says how the connection is."""
        if self.connected:
            blocked = ", which is blocked by a resource alarm" if self.blocked else ""
            hint = f", {self.hint}" if self.hint else ""
            return f"connected to {self.address}{blocked}{hint}"
        if not self.running and self._machine.state is not State.DEAD:
            return "stopped"
        return f"not connected: {self._trouble or f'still connecting to {self.address}'}"

    def start(self) -> None:
        """Connect and stay connected, in the background."""
        self._notice_dead_owner()
        self._machine.start(monotonic())

    def stop(self, timeout: float) -> None:
        """Disconnect; in good order if that takes no longer than ``timeout`` seconds.

        Where the caller is interrupted while it waits, by a `gevent.Timeout` or a signal, the link goes on to stop by
        itself.
        """
        self._notice_dead_owner()
        greenlet, stopped = self._greenlet, self._stopped
        now = monotonic()
        until = now + timeout
        self._machine.stop(until, now)
        if greenlet is None or greenlet is getcurrent():
            return
        while not stopped.is_set() and self._machine.state in (_DRAINING, _CLOSING):
            stopped.wait(max(0.0, until - monotonic()) + 0.01)
            self._machine.tick(monotonic())
        # It was told to end, and needs a turn of the loop for it.
        greenlet.join(1.0)

    def abort(self) -> None:
        """Disconnect without a farewell, and without letting any other greenlet run; `start` may follow at once."""
        self._machine.abort()

    def let_go(self) -> None:
        """Forget the connection in a forked child: its socket does so too, and the parent goes on with it."""
        self.attached.clear()
        self._machine.forked()

    def wake(self) -> None:
        """Let the worker's `work` be called soon."""
        if self._connection is not None:
            self._connection.wake()

    # -- the owner's greenlet ---------------------------------------------------------------

    def _own(self, owner: int) -> None:
        """Connect, again and again, until this is not the owner any more."""
        machine = self._machine
        try:
            while machine.is_owner(owner):
                if machine.state is _BACKING_OFF:
                    gevent.sleep(max(0.0, machine.next_deadline - monotonic()))
                    machine.tick(monotonic())
                else:
                    self._live(owner)
        except BaseException as error:  # noqa: BLE001  (an owner that ends without a word would never be replaced)
            self._on_owner_end(owner, error)

    def _live(self, owner: int) -> None:
        """Make one connection and use it until it ends."""
        machine = self._machine
        connections: list[ConnectionPort] = []
        try:
            self._connect(owner, connections)
            if machine.is_owner(owner):
                self._use(owner)
        except Exception as error:
            if from_signal(error) is not None:
                # The program's own affair, and no failure of the connection.
                raise
            if machine.is_owner(owner):
                self._lose(owner, error)
        finally:
            for connection in connections:
                # That was done already, except in a forked child.
                connection.abandon()

    def _connect(self, owner: int, connections: list[ConnectionPort]) -> None:
        machine = self._machine
        address = self.address = self._settings.brokers[machine.address]
        connection = self._establish(address)
        connections.append(connection)
        if not machine.is_owner(owner):
            connection.abandon()
            return
        self._connection = connection
        self.ended_by = None
        machine.connected(owner, monotonic())
        connection.suspicion = machine.suspicion
        self.blocked = False
        self.broker_info = _info(connection)
        self._worker.attach(connection)
        machine.ready(owner, monotonic())

    def _use(self, owner: int) -> None:
        machine, connection, worker = self._machine, self._connection, self._worker
        if connection is None:
            # It was lost while its worker was about to use it.
            return
        worker.work()
        while machine.state is _ATTACHED and machine.owner == owner:
            connection.pump()
            worker.work()
        if machine.state is _DRAINING and machine.owner == owner:
            worker.finish()
            machine.drained(owner)
            connection.close()
            machine.closed(owner, monotonic())

    def _lose(self, owner: int, error: Exception) -> None:
        """Note that an attempt has failed, or the connection is lost."""
        machine = self._machine
        self.ended_by = error
        fault = explain(error, self.address)
        self._trouble = fault.error
        if fault.unexpected:
            logger.exception("%s: unexpected error, connecting anew", self.name)
        culprit = None if self._connection is None else self._connection.in_hand
        if machine.lost(owner, _kind(fault), fault.error, monotonic(), culprit=culprit):
            text = "%s: a message has broken %d connections in a row; it is set aside when it comes again"
            logger.error(text, self.name, LIMIT)
        if machine.state is _BACKING_OFF and machine.owner == owner:
            if machine.failures == 1:
                self._outage.steady()
            self._outage.failed(self._trouble)

    def _on_owner_end(self, owner: int, error: BaseException | None) -> None:
        """Replace an owner that was killed or interrupted; raise in the main greenlet what interrupted it."""
        interrupt = from_signal(error)
        if interrupt is None and isinstance(error, (KeyboardInterrupt, SystemExit)):
            interrupt = error
        if self._machine.is_owner(owner):
            if interrupt is None:
                text = "%s: the greenlet of the connection has ended (%r), starting another one"
                logger.error(text, self.name, error, exc_info=error if isinstance(error, Exception) else None)
            self._trouble = BrokerError(f"the greenlet of the connection was interrupted ({error!r})")
        elif interrupt is None and isinstance(error, Exception):
            logger.error("%s: unexpected error", self.name, exc_info=error)
        self._machine.owner_ended(owner, monotonic())
        if interrupt is not None:
            raise_in_main(interrupt)

    def _notice_dead_owner(self) -> None:
        """Tell the machine of an owner that has ended without telling it itself."""
        greenlet = self._greenlet
        if greenlet is not None and greenlet.dead:
            self._machine.owner_ended(self._machine.owner, monotonic())

    def _establish(self, address: BrokerAddress) -> ConnectionPort:
        if address.scheme == "memory":
            client = kombu.Connection("memory://", transport=memory.Transport)
            local: memory.Connection = client.transport.establish_connection()
            return local
        settings = self._settings
        encrypted = settings.ssl is not False or address.scheme == "amqps"
        tls = tls_context(settings.ssl, address.host) if encrypted else None
        client = kombu.Connection(
            f"[{address.host}]" if ":" in address.host else address.host,
            transport=stock.Transport if _wants_stock() else transport.Transport,
            userid=address.user,
            password=address.password,
            virtual_host=address.vhost,
            port=address.port,
            heartbeat=int(settings.heartbeat),
            connect_timeout=settings.connect_timeout,
            transport_options={
                "ssl": tls,
                "answer_timeout": settings.connect_timeout,
                "on_blocked": self._on_blocked,
                "on_unblocked": self._on_unblocked,
                "client_properties": {
                    "product": "Amphora",
                    "product_version": __version__,
                    "connection_name": f"{self.name} {stdlib_socket.gethostname()}:{os.getpid()}",
                },
            },
        )
        remote: transport.Connection = client.transport.establish_connection()
        return remote

    def _on_blocked(self, reason: str) -> None:
        self.blocked = True
        logger.warning("%s: the broker blocks publishers (memory or disk alarm)", self.name)

    def _on_unblocked(self) -> None:
        self.blocked = False
        logger.info("%s: the broker takes messages again", self.name)


class _LinkPorts:
    """Does for a link what its machine says."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def spawn(self, owner: int) -> None:
        link = self._link
        if owner == 1 or link._machine.failures == 0:
            link._outage = ReconnectLog(link.name)
        greenlet = gevent.Greenlet(link._own, owner)
        greenlet.name = f"amphora {link.name}"
        greenlet.rawlink(lambda ended: self._link._on_owner_end(owner, ended.exception))
        link._greenlet = greenlet
        greenlet.start()

    def wake(self) -> None:
        self._link.wake()

    def disconnect(self, attached: bool) -> None:
        link = self._link
        connection, link._connection = link._connection, None
        link.attached.clear()
        link.blocked = False
        if connection is not None:
            self._without_raising(connection.abandon)
        if attached:
            self._without_raising(link._worker.detach)

    def _without_raising(self, function: Callable[[], None]) -> None:
        """Call a function; the machine is to go on whatever it raises."""
        try:
            function()
        except BaseException as error:
            interrupt = from_signal(error)
            if interrupt is None and isinstance(error, Exception):
                logger.exception("%s: unexpected error", self._link.name)
            else:
                get_hub().loop.run_callback(raise_in_main, interrupt or error)

    def end_owner(self) -> None:
        greenlet, self._link._greenlet = self._link._greenlet, None
        if greenlet is not None and greenlet is not getcurrent():
            greenlet.kill(block=False)

    def forget(self) -> None:
        # The owner abandons the connection when it is killed: its socket has let go of it by then.
        self._link._connection = None
        self.end_owner()

    def alarm(self, at: float) -> None:
        link = self._link
        self._stop_timer()
        link._timer = get_hub().loop.timer(max(0.0, at - monotonic()))
        link._timer.start(gevent.spawn, self._on_alarm)

    def _on_alarm(self) -> None:
        self._stop_timer()
        link = self._link
        link._machine.tick(monotonic())
        if link._machine.next_deadline != math.inf and link._machine.state is not _BACKING_OFF:
            # It fired early: its loop reckons with the time at the beginning of the turn.
            self.alarm(link._machine.next_deadline)

    def _stop_timer(self) -> None:
        timer, self._link._timer = self._link._timer, None
        if timer is not None:
            timer.stop()
            timer.close()

    def attached(self) -> None:
        link = self._link
        link._trouble = None
        link.attached.set()
        link._outage.end(link.address)

    def stopped(self) -> None:
        self._stop_timer()
        stopped, self._link._stopped = self._link._stopped, Event()
        stopped.set()

    def fatal(self, error: object) -> None:
        logger.error("%s: %s", self._link.name, error)
        self._link._on_fatal(cast("BrokerError", error))


def _kind(fault: Fault) -> Kind:
    if not fault.fatal:
        return Kind.TEMPORARY
    return Kind.LOCAL if fault.local else Kind.PERMANENT


def _info(connection: ConnectionPort) -> BrokerInfo:
    told = connection.server_properties
    product, version, cluster = (str(told.get(name, "")) for name in ("product", "version", "cluster_name"))
    heartbeat, session = float(connection.heartbeat or 0), connection.tls_session
    if session is None:
        return BrokerInfo(product, version, cluster, heartbeat)
    return BrokerInfo(product, version, cluster, heartbeat, session.version or "", session.certificate_ends)


def _wants_stock() -> bool:
    """Return whether py-amqp encodes and decodes messages; asked for each connection."""
    return os.environ.get("AMPHORA_STOCK_TRANSPORT", "") not in ("", "0")
