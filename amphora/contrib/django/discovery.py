"""Finds the handlers: imports ``rpc.py`` of every installed app."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from django.apps import apps

from amphora.contrib.django.conf import services

__all__ = ["discover"]


def discover() -> list[str]:
    """Import the handlers' modules of all installed apps; those that are imported already cost nothing.

    Returns:
        The modules' names.
    """
    names = sorted({each.handlers_module for each in services().values()})
    found = []
    for config in apps.get_app_configs():
        for name in names:
            module = f"{config.name}.{name}"
            if find_spec(module) is not None:
                import_module(module)
                found.append(module)
    return found
