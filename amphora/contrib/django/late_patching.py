"""Finds processes that gevent has patched too late for Django's databases.

Importing this imports nothing of Django: Celery's workers ask in programs that have none.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from gevent import monkey

__all__ = ["OPENTELEMETRY_SWITCH", "let_opentelemetry_patch", "mend_late_patching", "patched_too_late"]

#: Environment variable that lets ``opentelemetry-instrument`` patch before it imports Django and starts threads.
OPENTELEMETRY_SWITCH = "OTEL_PYTHON_AUTO_INSTRUMENTATION_EXPERIMENTAL_GEVENT_PATCH"

_LATE = (
    "gevent has patched this process after Django's database layer was imported, so that all greenlets share the "
    "connections of one, and queries fail with 'created in a thread can only be used in that same thread'. "
)


def patched_too_late() -> str | None:
    """Say why queries will fail in this process, and what to do; None if they will not."""
    database = sys.modules.get("django.db")
    if database is None or not monkey.is_module_patched("threading"):
        return None
    # Where Django keeps the connections of each thread: an object that knows greenlets, unless it was made before.
    storage = getattr(getattr(database.connections, "_connections", None), "_storage", None)
    if not isinstance(storage, monkey.get_original("threading", "local")) or not _has_databases(database.connections):
        return None
    if _is_instrumented():
        return (
            f"{_LATE}Set the environment variable {OPENTELEMETRY_SWITCH}=patch_all: opentelemetry-instrument imports "
            "Django before the program's first line, and patches before that then (docs/observability.md)."
        )
    return (
        f"{_LATE}Make `from gevent import monkey; monkey.patch_all()` the first line of the program, before anything "
        "imports Django."
    )


def mend_late_patching() -> None:
    """Give each greenlet database connections of its own, where Django was imported before gevent patched.

    For web servers whose workers patch after the application was loaded, and fork before that. Connections that were
    open before are left to themselves.
    """
    if patched_too_late() is not None:
        connections = sys.modules["django.db"].connections
        # As Django makes it, with what is patched now.
        connections._connections = sys.modules["asgiref.local"].Local(connections.thread_critical)


def let_opentelemetry_patch() -> bool:
    """Let OpenTelemetry patch first in the program that takes this one's place; return whether that was needed."""
    if not _is_instrumented() or OPENTELEMETRY_SWITCH in os.environ:
        return False
    os.environ[OPENTELEMETRY_SWITCH] = "patch_all"
    return True


def _is_instrumented() -> bool:
    """Return whether ``opentelemetry-instrument`` has started this process."""
    return "opentelemetry.instrumentation.auto_instrumentation" in sys.modules


def _has_databases(connections: Any) -> bool:
    return any(each["ENGINE"] != "django.db.backends.dummy" for each in connections.settings.values())
