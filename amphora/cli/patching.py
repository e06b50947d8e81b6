"""Lets gevent patch the standard library for the commands that connect."""

from __future__ import annotations

from gevent import get_hub, monkey

__all__ = ["patch"]


def patch() -> None:
    """Patch, unless that has been done, and let Ctrl-C end the command without a notice of the event loop."""
    if not monkey.is_module_patched("socket"):
        monkey.patch_all()
    hub = get_hub()
    if KeyboardInterrupt not in hub.NOT_ERROR:
        # It is raised where the command waits, and needs no notice on standard error besides.
        hub.NOT_ERROR = (*hub.NOT_ERROR, KeyboardInterrupt)
