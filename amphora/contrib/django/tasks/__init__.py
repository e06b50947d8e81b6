"""A backend for Django's tasks (Django 6.0 and newer): ``@task`` functions run in ``runserver_rpc``.

::

    TASKS = {
        "default": {
            "BACKEND": "amphora.contrib.django.tasks.AmphoraBackend",
            "QUEUES": ["default", "mail"],
            "OPTIONS": {"ALIAS": "default", "RESULT_CACHE": "default"},
        }
    }

docs/django-tasks.md explains it. Importing this imports no tasks, for older releases of Django have none.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

import django
from django.core.signals import setting_changed

if TYPE_CHECKING:
    from amphora.contrib.django.tasks.backend import AmphoraBackend

__all__ = ["AmphoraBackend", "connect_worker", "has_tasks"]


_WORKER = "amphora.contrib.django.tasks.worker"


def has_tasks() -> bool:
    """Return whether this release of Django has tasks."""
    return bool(django.VERSION >= (6, 0))


def connect_worker() -> None:
    """Let the servers of this process run tasks, and follow ``override_settings``, where Django has tasks."""
    if has_tasks():
        _add_to_servers(setting="TASKS")
        setting_changed.connect(_add_to_servers, dispatch_uid="amphora.tasks")


def _add_to_servers(*, setting: str, **_: Any) -> None:
    if setting == "TASKS":
        import_module(_WORKER).add_to_servers()


def __getattr__(name: str) -> Any:
    if name != "AmphoraBackend":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if not has_tasks():
        raise ImportError(
            f"AmphoraBackend is for Django's tasks, which came with Django 6.0, and this is {django.get_version()}"
        )
    return import_module("amphora.contrib.django.tasks.backend").AmphoraBackend
