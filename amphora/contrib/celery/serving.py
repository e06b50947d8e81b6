"""Runs the RPC servers of one application in this process, and ends them in good order."""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any

import gevent

from amphora import AmqpRpcException, AmqpRpcServer

if TYPE_CHECKING:
    from amphora.contrib.celery.attach import Amphora

__all__ = ["AppServing"]

logger = logging.getLogger(__name__)

#: Seconds between two checks whether the wait for running calls is to be cut short.
_LOOK = 0.2


class AppServing:
    """The server and the fan-out server of ``app.amphora``, those that have functions, started and ended together.

    Args:
        attached: The application's ``app.amphora``, when all modules that add functions are imported.
        on_failure: Called, in a greenlet of its own, with the error that a server cannot start for and that trying
            again cannot mend: credentials, a virtual host, an exchange of another kind.
    """

    def __init__(self, attached: Amphora, on_failure: Callable[[Exception], None]) -> None:
        servers: list[Any] = [attached.server, attached.fanout_server]
        # With no function at all it serves too: they may be added later.
        self._servers = [server for server in servers if server.functions] or servers[:1]
        self._queues = tuple(attached.conf.queues)
        self._on_failure = on_failure
        self._ended = False

    def start(self) -> None:
        """Take requests, as soon as the broker is there; returns at once."""
        for server in self._servers:
            server.serve()
            gevent.spawn(self._announce, server)
        for label in self._queues:
            self._servers[0].receive_from_queue(label, block=False)

    def take_no_more(self) -> None:
        """Take no more requests; the running ones go on. Returns at once."""
        self._ended = True
        for server in self._servers:
            server.prepare_stop(timeout=0)

    def finish(self, timeout: float | None, hurry: Callable[[], bool]) -> bool:
        """Take no more requests, and wait until the running ones are answered.

        Args:
            timeout: Seconds to wait at most; None for no limit.
            hurry: Asked five times a second whether to wait no longer.

        Returns:
            Whether all were answered.
        """
        self.take_no_more()
        deadline = None if timeout is None else monotonic() + timeout
        ends = [gevent.spawn(self._finish, server, deadline, hurry) for server in self._servers]
        return all([end.get() for end in ends])  # noqa: C419  (each is waited for)

    def stop(self) -> None:
        """Disconnect; requests that are not answered go back to their queue, for another server."""
        self._ended = True
        gevent.joinall([gevent.spawn(server.stop) for server in self._servers], raise_error=True)

    def report(self) -> dict[str, Any]:
        """Return what each service does, for people and programs, by the service's name.

        Returns:
            For each service: ``functions`` (names), ``calls`` run since the start, of these ``errors`` (the function
            raised), calls ``in_flight`` now, whether it is ``connected``, and the other counts of
            `AmqpRpcServer.stats`.
        """
        return {server.service_name: _report(server) for server in self._servers}

    def _finish(self, server: AmqpRpcServer, deadline: float | None, hurry: Callable[[], bool]) -> bool:
        while not server.prepare_stop(_LOOK if deadline is None else max(0.0, min(_LOOK, deadline - monotonic()))):
            if hurry() or (deadline is not None and monotonic() >= deadline):
                logger.warning(
                    "calls of the service %r that are not finished go back to their queue: %d",
                    server.service_name,
                    server.stats()["running"],
                )
                return False
        return True

    def _announce(self, server: AmqpRpcServer) -> None:
        """Say in the log what is served, or tell why it cannot be."""
        try:
            server.wait_connected()
        except Exception as error:
            # Whatever it is: without this greenlet, nothing would say that the server does not serve.
            if not self._ended:
                if not isinstance(error, AmqpRpcException):
                    logger.exception("the service %r cannot be served", server.service_name)
                self._on_failure(error)
            return
        if self._ended:
            return
        if server.functions:
            logger.info("the service %r is served: %s", server.service_name, ", ".join(sorted(server.functions)))
        else:
            logger.warning(
                "the service %r is served and has no functions: name the modules that add some in the setting "
                "`imports`, or have app.autodiscover_tasks() find them",
                server.service_name,
            )


def _report(server: AmqpRpcServer) -> dict[str, Any]:
    counts = server.stats()
    shown = {
        "functions": sorted(server.functions),
        "calls": counts.pop("requests"),
        "errors": counts.pop("errors"),
        "in_flight": counts.pop("running"),
        "connected": server.connected,
    }
    return {**shown, **counts}
