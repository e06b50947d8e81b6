"""Event loops of asyncio beside greenlets: Django refuses the database to the greenlet that runs one, not to others."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import asgiref.local
import django.utils.asyncio
from gevent import monkey

__all__ = ["let_other_greenlets_query"]


def let_other_greenlets_query() -> None:
    """Let greenlets use the database while another greenlet of their thread runs an event loop; may be called again.

    Django raises `SynchronousOnlyOperation` where an event loop runs in the calling thread, and all greenlets share
    one: a function that calls `asyncio.run` would lock the others out of the database until it returns. Code within
    the loop is refused as before.
    """
    known = hasattr(django.utils.asyncio, "get_running_loop") and getattr(asgiref.local, "asyncio", None) is asyncio
    if known and monkey.is_module_patched("threading"):
        django.utils.asyncio.get_running_loop = _loop_of_this_greenlet
        # It decides where connections are kept, and would lose those of the others.
        asgiref.local.asyncio = _Asyncio()  # type: ignore[assignment,attr-defined]


class _Asyncio:
    """The module, with the event loop of the calling greenlet only."""

    def get_running_loop(self) -> Any:
        """Return the event loop that runs in the calling greenlet; see `asyncio.get_running_loop`."""
        return _loop_of_this_greenlet()

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)


def _loop_of_this_greenlet() -> Any:
    """Return the event loop that runs in the calling greenlet.

    Raises:
        RuntimeError: There is none, as from `asyncio.get_running_loop`.
    """
    loop = asyncio.get_running_loop()
    # asyncio notes the thread that runs a loop, by a number that is the greenlet's own in a patched process.
    if getattr(loop, "_thread_id", None) not in (None, threading.get_ident()):
        raise RuntimeError("no running event loop in this greenlet")
    return loop
