"""`Amphora(app)`: what a Celery application gets as ``app.amphora``."""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import RLock
from typing import Any, TypeVar

from celery import signals
from celery.exceptions import ImproperlyConfigured

from amphora.contrib.celery.conf import Conf, hide_passwords
from amphora.contrib.celery.context import follow_tasks, hand_on
from amphora.contrib.celery.django_endpoints import django_endpoints, is_there
from amphora.contrib.celery.endpoints import AppClient, AppServer
from amphora.contrib.celery.exposed import Exposed, exposed_by_option, function_of
from amphora.contrib.celery.function_tasks import InTaskContext, register_function
from amphora.contrib.celery.program import extend_worker
from amphora.contrib.django.databases import look_after_databases
from amphora.contrib.stand_ins.stand_in import leave

__all__ = ["Amphora", "setup"]

logger = logging.getLogger(__name__)

Task = TypeVar("Task")


class Amphora:
    """Attaches Amphora to a Celery application, as ``app.amphora``.

    Nothing is read from the configuration and nothing connects before it is used: a process that
    imports the application (a web server, ``celery beat``) is none the worse for it.

    Functions of the server are Celery tasks too, ``amphora.<service>.<function>``, once the application is
    finalized; tasks can be exposed as functions, see `expose`.

    Args:
        app: The Celery application.
        server: Instead of a server made from the settings; anything with the methods of
            `AmqpRpcServer`.
        client: Instead of a client made from the settings; anything with the methods of
            `AmqpRpcClient`.

    Attributes:
        app: The Celery application.
        conf (Conf): The ``amphora_*`` settings: ``app.amphora.conf.service_name``.

    Raises:
        ImproperlyConfigured: The application has an ``app.amphora`` already.
    """

    def __init__(self, app: Any, *, server: Any = None, client: Any = None) -> None:
        if getattr(app, "amphora", None) is not None:
            raise ImproperlyConfigured(f"{app!r} has an app.amphora already: attach it once, next to Celery(...)")
        self.app = app
        self.conf = Conf(app)
        self._lock = RLock()
        self._exposed: list[Exposed] = []
        self._done: set[tuple[Any, ...]] = set()
        self._registered: list[tuple[Any, dict[str, Any]]] = []
        self._server = AppServer(self.conf) if server is None else server
        self._client = AppClient(self.conf) if client is None else client
        self._fanout_server = AppServer(self.conf, fanout=True)
        self._fanout_client = AppClient(self.conf, fanout=True)
        # Until Django's apps are loaded it is not known whether it has endpoints for the same services.
        self._settled = {False: server is not None or client is not None, True: False}
        for each in (self._server, self._fanout_server):
            self._take_server(each)
        for each in (self._client, self._fanout_client):
            each.add_middleware(hand_on)
        hide_passwords()
        follow_tasks()
        app.on_after_configure.connect(self._on_configured, weak=False)
        app.on_after_finalize.connect(self._on_finalized, weak=False)
        signals.celeryd_after_setup.connect(self._on_worker_setup, weak=False)
        signals.worker_process_shutdown.connect(self._on_process_shutdown, weak=False)
        app.amphora = self
        extend_worker(app)
        if app.configured:
            self._on_configured()
        if app.finalized:
            self._on_finalized()

    def __repr__(self) -> str:
        return f"<Amphora of {self.app!r}>"

    @property
    def server(self) -> Any:
        """The server of the service: takes functions at any time, and is made when a process serves."""
        self._settle(fanout=False)
        return self._server

    @property
    def client(self) -> Any:
        """The client of the service: made on first use, one for each process."""
        self._settle(fanout=False)
        return self._client

    @property
    def fanout_server(self) -> Any:
        """The server of the fan-out service (``amphora_fanout_service_name``), whose calls every server runs."""
        self._settle(fanout=True)
        return self._fanout_server

    @property
    def fanout_client(self) -> Any:
        """The client of the fan-out service."""
        self._settle(fanout=True)
        return self._fanout_client

    # -- tasks and functions ----------------------------------------------------------------

    def expose(self, task: Any = None, name: str | None = None, via: str = "inline") -> Any:
        """Make a Celery task a remote function too; a call or a decorator.

        ::

            app.amphora.expose(resize)
            app.amphora.expose("shop.tasks.report", name="report", via="queue")

            @app.amphora.expose(name="total")
            @app.task
            def add(x, y): ...

            @app.task(amphora=True)                             # the same, from within
            def mul(x, y): ...

            @shared_task(amphora={"name": "report", "via": "queue"})
            def report(month): ...

        With ``via="inline"`` the server runs the task's body at once, in the greenlet of the request:
        ``self.request.id`` is the id of the RPC request, hooks, signals and time limits work, and nothing is
        stored. A retry is refused: the caller gets `RetryRefused` as a `RemoteException`. ``Reject(requeue=True)``
        gives the request to another server.

        With ``via="queue"`` the server sends the task to Celery's queue, under the id of the RPC request, and
        answers with its result. The caller gets an exception of the task, or ``TaskRevokedError`` where it was
        revoked or expired, as a `RemoteException`. A request with a deadline (``expires``) gives the task the same.

        Args:
            task: The task, or its name.
            name: Name of the function; by default the name of the task.
            via: ``"inline"`` or ``"queue"``.

        Returns:
            The task itself, or a decorator.

        Raises:
            ValueError: ``via`` is neither.
            ImproperlyConfigured: Later, when the server is made: there is no such task, or no result backend for
                ``via="queue"``.
        """
        if task is None:

            def decorate(decorated: Task) -> Task:
                self.expose(decorated, name, via)
                return decorated

            Exposed(None, name, via)
            return decorate
        self._exposed.append(Exposed(task, name, via))
        if self.app.finalized:
            self._add_exposed()
        return task

    def register(self, server: Any, **options: Any) -> None:
        """Let Celery know the functions of a server as tasks: ``amphora.<service>.<function>``.

        ``app.amphora.server`` and ``fanout_server`` are registered already. Functions that are added to an
        `AmqpRpcServer` later are found when a worker starts, or when this is called again.

        Args:
            server: An `AmqpRpcServer`, or anything with ``functions``, ``service_name`` and ``add_middleware``.
            options: Options of the tasks, as for ``app.task``: ``queue``, ``time_limit``, ...
        """
        if not any(known is server for known, _ in self._registered):
            self._surround(server)
        self._registered = [each for each in self._registered if each[0] is not server]
        self._registered.append((server, options))
        if self.app.finalized:
            self._register_functions(server, options)

    # -- how it is done ---------------------------------------------------------------------

    def _take_server(self, server: Any) -> None:
        """Have a server's functions registered, tasks exposed, and functions run as their tasks."""
        self._registered.append((server, {}))
        self._surround(server)
        if isinstance(server, AppServer):
            server.on_function(lambda name, function: self._on_function(server, name, function))
        # Before its functions are needed, tasks that are exposed by their options have to be known.
        add_source = getattr(server, "add_source", None)
        if add_source is not None:
            add_source(self._complete)

    def _surround(self, server: Any) -> None:
        """Let a server's functions run as their tasks, with Django's databases as around an HTTP request."""
        # (One of Django's own has that already, and having it twice changes nothing.)
        server.add_middleware(look_after_databases)
        server.add_middleware(InTaskContext(self.app, lambda: server.service_name))

    def _settle(self, *, fanout: bool) -> None:
        """Take Django's endpoints instead of our own, as soon as it can be known whether there are any."""
        if self._settled[fanout] or not is_there():
            return
        with self._lock:
            if self._settled[fanout]:
                return
            service = self.conf.fanout_service_name if fanout else self.conf.service_name
            found = None if service is None else django_endpoints(service)
            self._settled[fanout] = True
            if found is None:
                return
            server, client = found
            own = self._fanout_server if fanout else self._server
            self._registered = [each for each in self._registered if each[0] is not own]
            self._take_server(server)
            client.add_middleware(hand_on)
            for name, function in own.handed_over(server).items():
                server.add_function(function, name)
            if fanout:
                self._fanout_server, self._fanout_client = server, client
            else:
                self._server, self._client = server, client

    def _complete(self) -> None:
        """Finalize the application and add the functions of exposed tasks."""
        self.app.finalize(auto=True)
        self._add_exposed()

    def _add_exposed(self) -> None:
        by_option = (exposed_by_option(task) for task in list(self.app.tasks.values()))
        with self._lock:
            for exposed in [*self._exposed, *filter(None, by_option)]:
                task = exposed.task
                key = (task if isinstance(task, str) else task.name, exposed.name, exposed.via)
                if key not in self._done:
                    name, function = function_of(exposed, self.app, self.conf)
                    self.server.add_function(function, name)
                    self._done.add(key)

    def _register_functions(self, server: Any, options: dict[str, Any]) -> None:
        functions = server.functions
        if functions:
            if not server.service_name:
                self.conf.check()
            for name, function in functions.items():
                register_function(self.app, server.service_name, name, function, options)

    def _on_function(self, server: AppServer, name: str, function: Callable[..., Any]) -> None:
        if self.app.finalized and server.service_name:
            register_function(self.app, server.service_name, name, function, {})

    def _on_configured(self, **_: Any) -> None:
        self.conf.add_defaults()
        for problem in self.conf.problems():
            logger.error("%s", problem)

    def _on_finalized(self, **_: Any) -> None:
        try:
            self._settle(fanout=False)
            self._settle(fanout=True)
            self._add_exposed()
            for server, options in list(self._registered):
                self._register_functions(server, options)
        except ImproperlyConfigured as error:
            # It is raised where a server or a client is used; others may go on.
            logger.error("%s", error)

    def _on_worker_setup(self, *, instance: Any, **_: Any) -> None:
        if instance.app is self.app:
            self._on_finalized()
            for client in (self._client, self._fanout_client):
                # Django's has it: a web server that is not patched is another matter than a worker's pool.
                allow_thread = getattr(client, "allow_thread", None)
                if allow_thread is not None:
                    allow_thread()

    def _on_process_shutdown(self, **_: Any) -> None:
        """A child of the prefork pool ends: it runs no exit handlers."""
        # Those that the program has made itself, too.
        leave()
        for client in (self._client, self._fanout_client):
            if getattr(client, "made", False):
                client.reset()


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
