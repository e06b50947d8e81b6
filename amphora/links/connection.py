"""One connection to the broker: connect, notice loss, back off, reconnect.

A `Link` owns the greenlet that owns the connection. What travels over the connection is the affair
of its `Worker`: a publisher or a consumer.
"""

from __future__ import annotations

import logging
import os
import random
import socket as stdlib_socket
from collections.abc import Callable
from time import monotonic
from typing import Any, NamedTuple, Protocol

import gevent
import kombu
from gevent.event import Event

from amphora.brokers import BrokerAddress
from amphora.core.suspicion import LIMIT, Suspicion
from amphora.exceptions import BrokerError
from amphora.links import memory, stock, transport
from amphora.links.faults import Fault, explain
from amphora.links.forks import let_go_after_fork
from amphora.links.outage import Outage
from amphora.links.tls import tls_context
from amphora.links.tls_session import TlsSession
from amphora.settings import LinkSettings
from amphora.version import __version__

__all__ = ["BrokerInfo", "Link", "Worker"]

logger = logging.getLogger(__name__)

#: A connection that lived for less than this many seconds does not reset the back-off.
_STEADY = 1.0


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
    """What a `Link` calls, always in the greenlet that owns the connection."""

    def attach(self, connection: Any) -> None:
        """Use this new connection: declare, open channels, take up the work."""

    def work(self) -> None:
        """Do what has piled up; called after everything that arrived, and after `Link.wake`."""

    def detach(self) -> None:
        """The connection is gone."""

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
        reconnects: How many times the connection was made anew.
        broker_info: What the broker said when it was connected to last; None before that.
        ended_by: The driver's error that ended the last connection; None while it is up, and where it was stopped.
        suspicion: Which messages broke connections. Each connection has it as its attribute ``suspicion``, and
            keeps the header of the message that it is handling in ``in_hand``; see `amphora.core.suspicion`.
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
        self.reconnects = 0
        self.broker_info: BrokerInfo | None = None
        self.ended_by: Exception | None = None
        self.suspicion = Suspicion()
        self._settings = settings
        self._worker = worker
        self._on_fatal = on_fatal
        self._connection: Any = None
        self._greenlet: gevent.Greenlet[[], None] | None = None
        self._stopping = False
        self._ever_attached = False
        self._ever_established = False
        self._next_broker = 0
        self._hopeless: set[BrokerAddress] = set()
        self._trouble: BrokerError | None = None
        self.address = settings.brokers[0]
        let_go_after_fork(self)

    # -- for anyone -------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether `start` was called and `stop` was not."""
        return self._greenlet is not None

    @property
    def connected(self) -> bool:
        """Whether the connection is up and its worker at work."""
        return self.attached.is_set()

    @property
    def established(self) -> bool:
        """Whether there is a connection, though its worker may only be about to use it."""
        return self._connection is not None

    @property
    def state(self) -> str:
        """A phrase for error messages that says how the connection is."""
        if self.connected:
            blocked = ", which is blocked by a resource alarm" if self.blocked else ""
            return f"connected to {self.address}{blocked}"
        if not self.running:
            return "stopped"
        return f"not connected: {self._trouble or f'still connecting to {self.address}'}"

    def start(self) -> None:
        """Connect and stay connected, in the background."""
        if self._greenlet is not None:
            return
        self._stopping = False
        self._ever_attached = self._ever_established = False
        self._hopeless.clear()
        self._greenlet = gevent.spawn(self._run)
        self._greenlet.name = f"amphora {self.name}"

    def stop(self, timeout: float) -> None:
        """Disconnect; in good order if that takes no longer than ``timeout`` seconds."""
        greenlet = self._greenlet
        if greenlet is None:
            return
        self._stopping = True
        self.wake()
        if greenlet is not gevent.getcurrent():
            if self.established:
                # While its worker attaches too: what has arrived by then may have been worked on.
                greenlet.join(timeout)
            if not greenlet.dead:
                greenlet.kill()
        if self._greenlet is greenlet:
            # Otherwise another greenlet has stopped it too meanwhile, and started it again.
            self._greenlet = None

    def abort(self) -> None:
        """Disconnect without a farewell, and without letting anybody else run; `start` may follow at once."""
        greenlet, self._greenlet = self._greenlet, None
        if greenlet is not None and greenlet is not gevent.getcurrent():
            greenlet.kill(block=False)

    def let_go(self) -> None:
        """Forget the connection in a forked child: its socket does so too, and the parent goes on with it."""
        self._stopping = True
        self.attached.clear()
        self.abort()

    def wake(self) -> None:
        """Let the worker's `work` be called soon."""
        if self._connection is not None:
            self._connection.wake()

    # -- the owner's greenlet ---------------------------------------------------------------

    def _run(self) -> None:
        outage = Outage(self.name)
        while not self._stopping:
            attached_at = None
            try:
                self._connect()
                attached_at = monotonic()
                outage.end(self.address)
                self._serve()
            except Exception as error:
                self.ended_by = error
                self._blame()
                fault = explain(error, self.address)
                self._trouble = fault.error
                if fault.unexpected:
                    logger.exception("%s: unexpected error, connecting anew", self.name)
                if self._is_hopeless(fault):
                    logger.error("%s: %s", self.name, fault.error)
                    if self._greenlet is gevent.getcurrent():
                        # Otherwise it was aborted in this very moment: the other link has said it all.
                        self._on_fatal(fault.error)
                    return
            finally:
                self._disconnect()
            if self._stopping:
                return
            if attached_at is not None and monotonic() - attached_at >= _STEADY:
                outage.steady()
            outage.failed(self._trouble)
            self._back_off(outage.failures)

    def _blame(self) -> None:
        """Note which message was being handled when the connection broke."""
        header: bytes | None = getattr(self._connection, "in_hand", None)
        if header is not None and self.suspicion.blame(header, monotonic()):
            logger.error(
                "%s: a message has broken %d connections in a row: it is set aside when it comes again",
                self.name,
                LIMIT,
            )

    def _is_hopeless(self, fault: Fault) -> bool:
        """Tell whether the first connection can never be made: to this address, and to none of the others."""
        if self._ever_attached or (self._ever_established and self._connection is None):
            # (One that broke before its worker had attached was let in all the same.)
            return False
        if not fault.fatal or not fault.local:
            self._hopeless.discard(self.address)
            return fault.fatal
        # A wrong certificate is one node's own; a wrong password is wrong for the whole cluster.
        self._hopeless.add(self.address)
        return self._hopeless.issuperset(self._settings.brokers)

    def _connect(self) -> None:
        self.address = self._settings.brokers[self._next_broker % len(self._settings.brokers)]
        # Whatever comes of it, the next attempt is at the next address.
        self._next_broker += 1
        self._connection = connection = self._establish(self.address)
        self.ended_by = None
        self.suspicion.tick(monotonic())
        connection.suspicion = self.suspicion
        self._ever_established = True
        self.blocked = False
        self.broker_info = _info(connection)
        self._worker.attach(connection)
        self._next_broker -= 1
        if self._ever_attached:
            self.reconnects += 1
        self._ever_attached = True
        self._trouble = None
        self.attached.set()

    def _establish(self, address: BrokerAddress) -> Any:
        if address.scheme == "memory":
            client = kombu.Connection("memory://", transport=memory.Transport)
            return client.transport.establish_connection()
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
        return client.transport.establish_connection()

    def _serve(self) -> None:
        connection, worker = self._connection, self._worker
        worker.work()
        while not self._stopping:
            connection.pump()
            worker.work()
        worker.finish()
        connection.close()

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        self.attached.clear()
        self.blocked = False
        if connection is not None:
            connection.abandon()
            self._worker.detach()

    def _back_off(self, failures: int) -> None:
        """Wait before the next attempt: not at all at first, then longer each time."""
        round_ = (failures - 1) // len(self._settings.brokers)
        if round_ == 0:
            return
        settings = self._settings
        delay = min(settings.reconnect_delay_max, settings.reconnect_delay * 2 ** min(round_, 30))
        gevent.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311  (jitter is no secret)

    def _on_blocked(self, reason: str) -> None:
        self.blocked = True
        logger.warning("%s: the broker blocks publishers (memory or disk alarm)", self.name)

    def _on_unblocked(self) -> None:
        self.blocked = False
        logger.info("%s: the broker takes messages again", self.name)


def _info(connection: Any) -> BrokerInfo:
    told = getattr(connection, "server_properties", {"product": "memory"})
    product, version, cluster = (str(told.get(name, "")) for name in ("product", "version", "cluster_name"))
    heartbeat = float(getattr(connection, "heartbeat", None) or 0)
    session: TlsSession | None = getattr(getattr(connection, "socket", None), "session", None)
    if session is None:
        return BrokerInfo(product, version, cluster, heartbeat)
    return BrokerInfo(product, version, cluster, heartbeat, session.version or "", session.certificate_ends)


def _wants_stock() -> bool:
    """Tell whether messages shall go all the way through py-amqp; asked for each connection."""
    return os.environ.get("AMPHORA_STOCK_TRANSPORT", "") not in ("", "0")
