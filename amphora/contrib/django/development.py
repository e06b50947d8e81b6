"""``manage.py runserver`` and ``test`` under gevent's monkey-patching, whatever manage.py looks like."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

from django.conf import settings
from django.core.management import get_commands
from django.core.management.base import CommandError
from django.utils.autoreload import DJANGO_AUTORELOAD_ENV
from gevent import get_hub, getcurrent
from gevent.hub import Hub

from amphora.contrib.django.patching import is_patched, run_again_patched

__all__ = ["patch_runserver", "patch_test"]

#: Whose ``runserver`` runs on an asyncio event loop; others are a WSGI server of threads, which become greenlets.
_ASGI_RUNSERVERS = ("daphne", "channels")


def patch_runserver() -> None:
    """Run ``manage.py runserver`` again, patched, where this process is one and is not; else return.

    Called when the apps are loaded. A command of our own in the place of Django's would come to pass only in projects
    that list our app before ``django.contrib.staticfiles``, which has one too. That one stays as it is here.

    The setting ``AMPHORA_PATCH_RUNSERVER = False`` switches it off.
    """
    if sys.argv[1:2] != ["runserver"] or not getattr(settings, "AMPHORA_PATCH_RUNSERVER", True):
        return
    if get_commands()["runserver"] in _ASGI_RUNSERVERS:
        return
    if is_patched():
        _end_by_control_c()
        return
    reloaded = os.environ.get(DJANGO_AUTORELOAD_ENV) == "true"
    if not reloaded:
        print("Amphora: runserver runs under gevent's monkey-patching (docs/django.md says why).", flush=True)  # noqa: T201
    # The process that only starts the other one again when code has changed need not be patched.
    if reloaded or "--noreload" in sys.argv:
        try:
            run_again_patched()
        except CommandError as error:
            print(f"Amphora: {error}", file=sys.stderr, flush=True)  # noqa: T201  (the server works, only calls do not)


def patch_test() -> None:
    """Run ``manage.py test`` again, patched, where the setting ``AMPHORA_PATCH_TEST`` is True; else return.

    Called when the apps are loaded, which is before the test database is made. Not done unasked: not all of a project's
    tests need work in a patched process (docs/django-testing.md says which do not).

    Raises:
        CommandError: It cannot be run again; the text says what to do.
    """
    if sys.argv[1:2] == ["test"] and getattr(settings, "AMPHORA_PATCH_TEST", False):
        run_again_patched()


def _end_by_control_c() -> None:
    """Let CONTROL-C end the main greenlet, as it ends the main thread of a program that is not patched."""
    # Which catches it: it is nothing to print a report of.
    Hub.NOT_ERROR = (*Hub.NOT_ERROR, KeyboardInterrupt)
    pressed = False

    def interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  (as `signal` calls it)
        nonlocal pressed
        hub = get_hub()
        # A request that keeps the processor busy would hold a second one up too.
        if pressed or getcurrent() in (hub, hub.parent):
            raise KeyboardInterrupt
        pressed = True
        hub.loop.run_callback(hub.handle_system_error, KeyboardInterrupt, KeyboardInterrupt())

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)
