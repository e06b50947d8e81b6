"""Database drivers that block the whole process while they wait, and what can be done about it."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.db import connections

__all__ = ["check_drivers", "make_cooperative", "waits_with_gevent"]

#: The first version of psycopg that waits with Python's `select` where gevent has patched it.
_PSYCOPG = (3, 1, 14)


def make_cooperative() -> None:
    """Let psycopg2 wait with gevent, where a database is used through it and psycogreen is installed."""
    if any(_driver(alias) == "psycopg2" for alias in connections) and find_spec("psycogreen") is not None:
        import_module("psycogreen.gevent").patch_psycopg()


def waits_with_gevent(alias: str) -> bool:
    """Return whether other greenlets run while one waits for this database, for all that is known of its driver.

    Args:
        alias: Alias of the database in ``DATABASES``.
    """
    driver = _driver(alias)
    if driver == "psycopg":
        return _version(alias) >= _PSYCOPG
    return driver == "pymysql" or (driver == "psycopg2" and find_spec("psycogreen") is not None)


def check_drivers(**_: Any) -> list[checks.CheckMessage]:
    """Warn of databases whose driver lets no other request run while it waits; a system check."""
    return [message for alias in connections for message in _messages(alias)]


def _messages(alias: str) -> list[checks.CheckMessage]:
    driver = _driver(alias)
    if driver == "psycopg2" and find_spec("psycogreen") is None:
        return [_blocks(alias, driver, "Install psycopg 3 (psycopg[binary]) in its place, or psycogreen beside it")]
    if driver == "MySQLdb":
        return [_blocks(alias, "mysqlclient", "Use PyMySQL (pymysql.install_as_MySQLdb())")]
    if driver == "psycopg" and _version(alias) < _PSYCOPG:
        return [_blocks(alias, "psycopg before 3.1.14", "Install a newer version")]
    options = connections.settings[alias]
    if driver == "psycopg" and options["OPTIONS"].get("pool") and not options["CONN_HEALTH_CHECKS"]:
        text = f"The pool of database {alias!r} gives out connections that have died, after a restart of the database."
        return [checks.Warning(text, hint=f"Set DATABASES[{alias!r}]['CONN_HEALTH_CHECKS'] = True.", id="amphora.W032")]
    return []


def _blocks(alias: str, driver: str, hint: str) -> checks.CheckMessage:
    text = f"Database {alias!r} is used through {driver}, which lets no other request run while it waits."
    return checks.Warning(text, hint=f"{hint}; see docs/django-operations.md.", id="amphora.W031")


def _driver(alias: str) -> str:
    """Return the name of the module that a database is used through; nothing where there is none."""
    try:
        return getattr(getattr(connections[alias], "Database", None), "__name__", "")
    except ImproperlyConfigured:
        # Not installed: using the database says so.
        return ""


def _version(alias: str) -> tuple[int, ...]:
    version: str = connections[alias].Database.__version__
    return tuple(int(part) for part in version.split(".")[:3] if part.isdecimal())
