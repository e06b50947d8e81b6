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

from amphora.contrib.django.endpoints import LazyClient, LazyServer, client, clients, server, servers

__all__ = ["LazyClient", "LazyServer", "client", "clients", "server", "servers"]
