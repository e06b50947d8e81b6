"""Database connections that stay open after a request (``CONN_MAX_AGE``), for the next one of the same greenlet."""

from __future__ import annotations

import logging
import select
from collections.abc import Callable
from math import inf
from time import monotonic
from typing import Any
from weakref import WeakKeyDictionary

import gevent
from django.core.exceptions import SynchronousOnlyOperation
from django.db import connections
from gevent import monkey
from gevent.event import Event
from gevent.lock import RLock

__all__ = ["IdleConnections"]

logger = logging.getLogger(__name__)

# Asks, and returns at once: gevent's own would let the event loop turn.
_poll: Callable[[], Any] = monkey.get_original("select", "poll")

#: Seconds after which a connection that did not close is closed again.
_AGAIN = 1.0

#: The status of a connection on which a query runs, in libpq and so in psycopg 3 and psycopg2.
_ACTIVE = 1


class _Parked:
    """Open connections of one greenlet between two requests.

    Args:
        wrappers: Django's connections (`BaseDatabaseWrapper`), none while the greenlet uses them.
    """

    __slots__ = ("lock", "wrappers")

    def __init__(self) -> None:
        self.wrappers: list[Any] = []
        self.lock = RLock()


class IdleConnections:
    """Closes what Django would leave open.

    Django looks at a connection's age when its thread has the next request, and a greenlet that was busy in a rush may
    not have one for hours. Here a connection is closed when its ``CONN_MAX_AGE`` is over, and when its greenlet ends;
    one that the database has closed meanwhile is noticed before it fails a request.
    """

    def __init__(self) -> None:
        # Weak: a greenlet that something holds after a request gets no other one (`amphora.server.worker_pool`).
        self._parked: WeakKeyDictionary[Any, _Parked] = WeakKeyDictionary()
        self._reaper: gevent.Greenlet[[], None] | None = None
        self._wake_at = 0.0
        self._sooner = Event()

    def __len__(self) -> int:
        return sum(len(parked.wrappers) for parked in self._parked.values())

    def park(self) -> None:
        """The calling greenlet has finished a request: look after the connections that it has left open."""
        wrappers = []
        for each in connections.all(initialized_only=True):
            if each.connection is None or each.in_atomic_block:
                # A transaction has another owner: a test that lends its connection to the functions.
                continue
            if not _is_busy(each) or not _try_to_close(each):
                wrappers.append(each)
        if not wrappers:
            return
        greenlet = gevent.getcurrent()
        parked = self._parked.get(greenlet)
        if parked is None:
            parked = self._parked[greenlet] = _Parked()
            # Others, such as a program's main one, do not end before the program does.
            if isinstance(greenlet, gevent.Greenlet):
                greenlet.rawlink(self._on_end)
        parked.wrappers = wrappers
        end = min(map(_end_of, wrappers))
        if end < inf:
            self._wake(end)

    def resume(self) -> None:
        """The calling greenlet begins a request: its connections are its own again, without those that have died."""
        parked = self._parked.get(gevent.getcurrent())
        if parked is None:
            return
        # Held while one of them is being closed.
        with parked.lock:
            wrappers, parked.wrappers = parked.wrappers, []
        for each in wrappers:
            try:
                dead = _has_news(each) and not each.is_usable()
            except Exception as error:  # noqa: BLE001  (drivers have errors of their own, and the request needs none)
                logger.warning("database %r: a connection could not be checked: %s", each.alias, error)
                dead = True
            if dead:
                _try_to_close(each)

    def close_all(self) -> None:
        """Close all that wait for a request."""
        for parked in list(self._parked.values()):
            _close(parked, inf)

    def _on_end(self, greenlet: Any) -> None:
        """A greenlet has ended; runs in the event loop, so it must not block."""
        parked = self._parked.pop(greenlet)
        if parked.wrappers:
            gevent.spawn(_close_all, parked)

    def _wake(self, at: float) -> None:
        """Have the connections looked at then."""
        if self._reaper is None:
            self._wake_at = at
            self._reaper = gevent.spawn(self._keep_reaping)
        elif at < self._wake_at:
            self._wake_at = at
            self._sooner.set()

    def _keep_reaping(self) -> None:
        """Close connections as they become too old, until there are none that will."""
        try:
            while True:
                self._sooner.clear()
                self._sooner.wait(max(0.0, self._wake_at - monotonic()))
                try:
                    end = self._reap()
                except Exception:
                    # One connection must not leave all others open for the life of the process.
                    logger.exception("idle database connections could not be closed; trying again")
                    end = monotonic() + _AGAIN
                if end == inf:
                    return
                self._wake_at = end
        finally:
            # However it ended: the next connection that may grow too old starts another one.
            self._reaper = None

    def _reap(self) -> float:
        """Close the connections that are too old, and return when to look again."""
        for parked in list(self._parked.values()):
            _close(parked, monotonic())
        end = min((_end_of(each) for parked in self._parked.values() for each in parked.wrappers), default=inf)
        # One that did not close is too old already.
        return max(end, monotonic() + _AGAIN) if end <= monotonic() else end


def _is_busy(wrapper: Any) -> bool:
    """Return whether a query still runs, whose function was ended by a `gevent.Timeout`; drivers of PostgreSQL know."""
    info = getattr(wrapper.connection, "info", None)
    return bool(getattr(info, "transaction_status", None) == _ACTIVE)


def _has_news(wrapper: Any) -> bool:
    """Return whether the database has said something since the last request, which is mostly that it is gone."""
    fileno = getattr(wrapper.connection, "fileno", None)
    if fileno is None:
        return False
    poll = _poll()
    try:
        poll.register(fileno(), select.POLLIN)
    except wrapper.Database.Error:
        # It is closed on this side.
        return True
    return bool(poll.poll(0))


def _end_of(wrapper: Any) -> float:
    """Return when a connection is too old (`time.monotonic`, as Django notes it)."""
    return inf if wrapper.close_at is None else float(wrapper.close_at)


def _close(parked: _Parked, until: float) -> None:
    """Close the connections that are too old at that time, or all of them at infinity.

    They belong to another greenlet, which waits in `IdleConnections.resume` if it needs them meanwhile.
    """
    with parked.lock:
        for each in [wrapper for wrapper in parked.wrappers if _end_of(wrapper) <= until]:
            if _try_to_close(each):
                parked.wrappers.remove(each)


def _close_all(parked: _Parked) -> None:
    """Close the connections of a greenlet that has ended: its next request will not do it."""
    while parked.wrappers:
        _close(parked, inf)
        if parked.wrappers:
            gevent.sleep(_AGAIN)


def _try_to_close(wrapper: Any) -> bool:
    """Close a connection, perhaps another greenlet's; return whether that succeeded, and log why it did not.

    Not while an event loop of asyncio runs in this thread, where Django refuses: that passes.
    """
    wrapper.inc_thread_sharing()
    try:
        wrapper.close()
    except SynchronousOnlyOperation:
        logger.debug("database %r: an event loop runs; the connection is closed later", wrapper.alias)
        return False
    except Exception as error:  # noqa: BLE001  (drivers have errors of their own; what failed to close is not kept)
        logger.warning("database %r: a connection did not close: %s", wrapper.alias, error)
    finally:
        wrapper.dec_thread_sharing()
    return True
