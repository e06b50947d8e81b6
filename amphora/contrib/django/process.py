"""Says of a process in which servers and clients cannot work why that is, and what to do there."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from gevent import monkey

from amphora.contrib.django.late_patching import mend_late_patching

__all__ = ["check_event_loop", "check_process", "not_patched"]

_WSGI = "gunicorn -k gevent PROJECT.wsgi"
_ASGI = (
    "To keep this server, start it from a program that is patched first of all, with asyncio's own loop:\n\n"
    "    from gevent import monkey; monkey.patch_all()\n"
    "    import uvicorn; uvicorn.run('PROJECT.asgi:application', loop='asyncio')\n\n"
)
_SEE = "docs/django.md, 'Web servers', tells more."

#: Modules that give an ASGI server away.
_ASGI_SERVERS = ("uvicorn", "hypercorn", "daphne.server", "granian")


def check_process(alias: str, otherwise: str = "") -> None:
    """Insist on a process in which gevent can wait.

    Args:
        alias: Key in ``AMPHORA`` of the server or client that is wanted here, for the text.
        otherwise: What else can be done, for the text.

    Raises:
        RuntimeError: It is not monkey-patched; the text says what to do. Or see `check_event_loop`.
    """
    check_event_loop()
    # gunicorn's --preload imports Django in the process that forks the workers, which patch after that.
    mend_late_patching()
    why = not_patched()
    if why is not None:
        raise RuntimeError(f"AMPHORA[{alias!r}]: {why} {otherwise}".rstrip())


def not_patched() -> str | None:
    """Say why this process is not monkey-patched, and what to do; None if it is."""
    return None if monkey.is_module_patched("socket") else _unpatched(_running_loop())


def check_event_loop() -> None:
    """Refuse to begin under an event loop that never lets greenlets run, which threads of a patched program are.

    Raises:
        RuntimeError: The program is patched, and its event loop is uvloop; the text says what to do.
    """
    loop = _running_loop()
    if loop is None or not monkey.is_module_patched("socket"):
        return
    if type(loop).__module__.partition(".")[0] == "uvloop":
        raise RuntimeError(
            "uvloop cannot be used in a program that gevent has patched: it waits in C, where no greenlet runs, so "
            f"that every view and call would wait forever. Take asyncio's own loop: uvicorn --loop asyncio. {_SEE}"
        )


def _unpatched(loop: Any) -> str:
    """Say why nothing is patched here, by what the process has been started with."""
    why = "servers and clients need gevent's monkey-patching, and this process has none: "
    if loop is not None or any(name in sys.modules for name in _ASGI_SERVERS):
        return (
            f"{why}it is an ASGI server, on an asyncio event loop. Serve the pages that make calls with a WSGI server, "
            f"which patches for itself: {_WSGI}\n{_ASGI}{_SEE}"
        )
    if "uwsgi" in sys.modules:
        return f"{why}start uWSGI with the options --gevent 1000 --gevent-early-monkey-patch. {_SEE}"
    if "gunicorn.arbiter" in sys.modules:
        return f"{why}start gunicorn with its gevent worker: {_WSGI}. {_SEE}"
    if "mod_wsgi" in sys.modules:
        return f"{why}mod_wsgi serves with threads that cannot be. Use another WSGI server: {_WSGI}. {_SEE}"
    return (
        f"{why}put\n\n"
        "    from gevent import monkey; monkey.patch_all()\n\n"
        "before everything else in the program that is started (manage.py, for a command of yours), or start it with "
        "python -m gevent.monkey manage.py COMMAND. manage.py runserver, unless AMPHORA_PATCH_RUNSERVER is False, and "
        f"runserver_rpc do so for themselves. {_SEE}"
    )


def _running_loop() -> Any:
    """Return the event loop of this thread, greenlets of which are the threads of a patched program."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
