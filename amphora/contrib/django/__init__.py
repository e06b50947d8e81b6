"""Amphora in Django projects: handlers in ``rpc.py`` of any app, calls in views, settings in ``AMPHORA``.

::

    INSTALLED_APPS = [..., "amphora.contrib.django"]
    AMPHORA = {"default": {"SERVICE_NAME": "shop", "BROKER_URL": "amqp://..."}}

::

    from amphora.contrib.django import client, server

    @server.add_function("orders.total")        # in rpc.py of an app
    def total(order_id): ...

    client.call.orders.total(42)                # in a view

Importing this connects nothing, and needs neither loaded apps nor a monkey-patched program.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from amphora.contrib.django.endpoints import LazyClient, LazyServer, client, clients, server, servers

__all__ = ["LazyClient", "LazyServer", "client", "clients", "server", "servers"]


def __getattr__(name: str) -> Any:
    """Import the endpoints, and with them Django's database layer, when they are asked for.

    `amphora.contrib.django.pytest_plugin` is below this package, and patches before Django is imported.
    """
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module("amphora.contrib.django.endpoints"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
