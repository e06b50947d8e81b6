"""Finds the handlers: imports ``rpc.py`` of every installed app, once."""

from __future__ import annotations

import os
import traceback
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import module_has_submodule

from amphora.contrib.django.conf import sound_services

__all__ = ["HandlersNotImported", "discover", "failures", "forget_failures"]


class HandlersNotImported(ImproperlyConfigured):
    """A module with handlers cannot be imported.

    Its cause (``__cause__``) is what the import raised.
    """


@dataclass(frozen=True)
class FailedImport:
    """A module that cannot be imported.

    Args:
        module: Its dotted name.
        error: What the import raised.
    """

    module: str
    error: Exception

    def __str__(self) -> str:
        return f"{self.module} cannot be imported ({self.where}): {type(self.error).__name__}: {self.error}"

    @property
    def where(self) -> str:
        """File and line that the import failed at."""
        if isinstance(self.error, SyntaxError) and self.error.filename:
            return f"{self.error.filename}, line {self.error.lineno}"
        frames = traceback.extract_tb(self.error.__traceback__)
        # Rather the line of the project than that of Amphora which complains about it.
        own = [frame for frame in frames if not frame.filename.startswith((_AMPHORA, "<"))]
        frame = (own or frames)[-1]
        return f"{frame.filename}, line {frame.lineno}"


#: Where Amphora's own code is.
_AMPHORA = f"{Path(__file__).parents[2]}{os.sep}"

# By module; None for those that were imported. A module whose import has failed is tried again only when the settings
# have changed.
_tried: dict[str, FailedImport | None] = {}


def discover() -> list[str]:
    """Import the handlers' modules of all installed apps; again it costs next to nothing.

    Returns:
        The modules' names.

    Raises:
        HandlersNotImported: One or more of them cannot be imported.
    """
    found = failures()
    if found:
        raise HandlersNotImported("\n".join(map(str, found))) from found[0].error
    return _modules()


def failures() -> list[FailedImport]:
    """Import the handlers' modules of all installed apps, and return those that cannot be imported."""
    found = []
    for module in _modules():
        if module not in _tried:
            # Noted first: handlers may ask for others while they are imported.
            _tried[module] = None
            _tried[module] = _import(module)
        if (failure := _tried[module]) is not None:
            found.append(failure)
    return found


def forget_failures() -> None:
    """Try again to import what could not be imported."""
    for module in [module for module, failure in _tried.items() if failure is not None]:
        del _tried[module]


def _modules() -> list[str]:
    names = sorted({each.handlers_module for each in sound_services().values()})
    return [
        f"{config.name}.{name}"
        for config in apps.get_app_configs()
        for name in names
        if module_has_submodule(config.module, name)
    ]


def _import(module: str) -> FailedImport | None:
    try:
        import_module(module)
    except Exception as error:  # noqa: BLE001  (whatever the user's module raises)
        return FailedImport(module, error)
    return None
