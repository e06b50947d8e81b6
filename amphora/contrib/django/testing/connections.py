"""Lends a test's database connections to the handlers that run for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

from django.db import connections

__all__ = ["LentConnections"]


class LentConnections:
    """The database connections of a test, for its handlers to use in place of their own.

    A handler runs in a greenlet, and each greenlet has connections of its own. Under `django.test.TestCase` these see
    nothing of what the test has written, for it is never committed. So the handler gets the test's connection, as the
    threads of `django.test.LiveServerTestCase` do. The lender has to make sure that one greenlet uses them at a time.

    Args:
        lent: The connections by alias.
    """

    def __init__(self, lent: Mapping[str, Any]) -> None:
        self._lent = lent
        self._borrowers = 0

    @classmethod
    def of_this_greenlet(cls, *, only_in_memory: bool) -> Self:
        """Lend the connections of the greenlet that calls this.

        Args:
            only_in_memory: Whether to lend none but those to SQLite databases in memory.
        """
        return cls({each.alias: each for each in connections.all() if not only_in_memory or _is_in_memory(each)})

    def __contains__(self, connection: Any) -> bool:
        return any(connection is each for each in self._lent.values())

    def __bool__(self) -> bool:
        return bool(self._lent)

    @contextmanager
    def borrowed(self) -> Iterator[None]:
        """Use them in the current greenlet, in place of its own."""
        before = {connection.alias: connection for connection in connections.all(initialized_only=True)}
        for alias, connection in self._lent.items():
            connection.inc_thread_sharing()
            connections[alias] = connection
        self._borrowers += 1
        self._protect()
        try:
            yield
        finally:
            self._borrowers -= 1
            self._unprotect()
            for alias, connection in self._lent.items():
                connection.dec_thread_sharing()
                if alias in before:
                    connections[alias] = before[alias]
                else:
                    del connections[alias]

    def _protect(self) -> None:
        """Keep them open: what is closed within a transaction is lost to the test."""
        for connection in self._lent.values():
            vars(connection).update(close=_do_nothing, close_if_unusable_or_obsolete=_do_nothing)

    def _unprotect(self) -> None:
        if not self._borrowers:
            for connection in self._lent.values():
                for name in ("close", "close_if_unusable_or_obsolete"):
                    vars(connection).pop(name, None)


def _is_in_memory(connection: Any) -> bool:
    return bool(connection.vendor == "sqlite" and connection.is_in_memory_db())


def _do_nothing(*_: Any) -> None:
    """Stand in for closing a connection that is only borrowed."""
