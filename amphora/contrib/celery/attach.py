"""`Amphora(app)`: what a Celery application gets as ``app.amphora``."""

from __future__ import annotations

import logging
from typing import Any

from celery.exceptions import ImproperlyConfigured

from amphora import AmqpRpcClient, AmqpRpcFanoutClient, AmqpRpcFanoutServer, AmqpRpcServer
from amphora.contrib.celery.conf import Conf, hide_passwords
from amphora.contrib.celery.endpoints import LazyClient, LazyServer
from amphora.contrib.celery.program import extend_worker

__all__ = ["Amphora", "setup"]

logger = logging.getLogger(__name__)


class Amphora:
    """Attaches Amphora to a Celery application, as ``app.amphora``.

    Nothing is read from the configuration and nothing connects before it is used: a process that
    imports the application (a web server, ``celery beat``) is none the worse for it.

    Args:
        app: The Celery application.
        server: Instead of a server made from the settings; anything with the methods of
            `AmqpRpcServer`.
        client: Instead of a client made from the settings; anything with the methods of
            `AmqpRpcClient`.

    Attributes:
        app: The Celery application.
        conf (Conf): The ``amphora_*`` settings: ``app.amphora.conf.service_name``.
        server (LazyServer): Takes functions at any time; made when a process serves.
        fanout_server (LazyServer): The same for calls that every server runs.
        client (LazyClient): Calls the service; made on first use, one for each process.
        fanout_client (LazyClient): The same for calls that every server runs.

    Raises:
        ImproperlyConfigured: The application has an ``app.amphora`` already.
    """

    def __init__(self, app: Any, *, server: Any = None, client: Any = None) -> None:
        if getattr(app, "amphora", None) is not None:
            raise ImproperlyConfigured(f"{app!r} has an app.amphora already: attach it once, next to Celery(...)")
        self.app = app
        self.conf = Conf(app)
        self._server = server
        self._client = client
        self._own_server = LazyServer(AmqpRpcServer, self.conf)
        self._own_client = LazyClient(AmqpRpcClient, self.conf)
        self.fanout_server = LazyServer(AmqpRpcFanoutServer, self.conf, fanout=True)
        self.fanout_client = LazyClient(AmqpRpcFanoutClient, self.conf, fanout=True)
        hide_passwords()
        app.on_after_configure.connect(self._on_configured, weak=False)
        if app.configured:
            self._on_configured()
        app.amphora = self
        extend_worker(app)

    def __repr__(self) -> str:
        return f"<Amphora of {self.app!r}>"

    @property
    def server(self) -> Any:
        """The server of the service."""
        return self._own_server if self._server is None else self._server

    @property
    def client(self) -> Any:
        """The client of the service."""
        return self._own_client if self._client is None else self._client

    def _on_configured(self, **_: Any) -> None:
        self.conf.add_defaults()
        for problem in self.conf.problems():
            logger.error("%s", problem)


def setup(app: Any, **options: Any) -> Amphora:
    """Attach Amphora to a Celery application, unless it is attached already.

    Args:
        app: The Celery application.
        **options: See `Amphora`.

    Returns:
        What is ``app.amphora`` from now on.
    """
    attached = getattr(app, "amphora", None)
    return attached if isinstance(attached, Amphora) else Amphora(app, **options)
