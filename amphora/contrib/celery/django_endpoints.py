"""The endpoints of a Django project's own Amphora app, where there is one for the same service."""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["django_endpoints", "is_there"]

#: Label of Amphora's app in Django.
_LABEL = "amphora"


def django_endpoints(service_name: str) -> tuple[Any, Any] | None:
    """Ask the Django app labelled ``amphora`` for a service's endpoints.

    Args:
        service_name: Name of the service.

    Returns:
        Stand-ins for its server and its client, as the method ``endpoints`` of the app's configuration gives them;
        None where Django is not used, is not loaded yet, or knows no such service.
    """
    config = _app_config()
    find = getattr(config, "endpoints", None)
    if find is None:
        return None
    found: tuple[Any, Any] | None = find(service_name)
    return found


def is_there() -> bool:
    """Return whether Django has loaded an app labelled ``amphora``: whether it is worth asking."""
    return _app_config() is not None


def _app_config() -> Any:
    # A program that uses Django has imported its registry; another one need not have Django at all.
    registry = sys.modules.get("django.apps")
    if registry is None or not registry.apps.ready:
        return None
    return registry.apps.app_configs.get(_LABEL)
