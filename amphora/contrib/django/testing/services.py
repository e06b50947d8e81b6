"""The project's services, run in the process of its tests."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial, wraps
from time import monotonic
from typing import Any, Self

import gevent
from django.conf import settings
from django.db import connections
from django.test import override_settings
from gevent import monkey
from gevent.event import AsyncResult, Event

from amphora import CurrentRequest, OutgoingRequest
from amphora.contrib.django.conf import DEFAULT_ALIAS
from amphora.contrib.django.endpoints import clients, servers
from amphora.contrib.django.testing.connections import LentConnections
from amphora.contrib.django.testing.recorded import SentCall
from amphora.contrib.django.testing.settings import on_memory
from amphora.contrib.django.testing.turns import Turns
from amphora.testing import CallRecorder

__all__ = ["ProjectServices", "check_patched"]


def check_patched() -> None:
    """Insist on gevent's monkey-patching, without which there is neither server nor client.

    Raises:
        RuntimeError: The tests' process is not patched; the text says how it is.
    """
    if not monkey.is_module_patched("socket"):
        raise RuntimeError(
            "These tests run remote functions, and need gevent's monkey-patching. For manage.py test, let the "
            "project's settings say\n\n"
            "    AMPHORA_PATCH_TEST = True\n\n"
            "and for pytest, those in pyproject.toml (or pytest.ini, ...)\n\n"
            '    addopts = "-p amphora.contrib.django.pytest_plugin"\n\n'
            "python -m gevent.monkey manage.py test patches too. "
            "It cannot be done later: Django is loaded by now."
        )


class ProjectServices(CallRecorder[SentCall]):
    """Runs the handlers of all aliases in this process on ``memory://``, from `start` to `stop`.

    Views, and all else that uses ``client``, ``clients``, ``server`` and ``servers``, work as usual, except that

    - ``defer`` and ``cast`` return when the function has run, so that a test sees what it has done. In a transaction of
      a test with ``own_connections``, which no handler could look into, they return at once. So they do with a
      ``routing_key``.
    - handlers use the database connections of the greenlet that started this, one handler at a time, and see what the
      test has written and not committed.

    Args:
        wait_for_deferred: False to let ``defer`` return before the function has run, as it does in production.
        own_connections: True to give each handler database connections of its own, as in production: for tests that
            commit. (Those to an SQLite database in memory are lent in any case.)
        grace: Seconds that functions which still run have to end when this is stopped.
    """

    def __init__(self, *, wait_for_deferred: bool = True, own_connections: bool = False, grace: float = 10.0) -> None:
        super().__init__()
        self._grace = grace
        # Of casts by id: set when the function has run.
        self._casts: dict[str | None, Event] = {}
        self._wait_for_deferred = wait_for_deferred
        self._own_connections = own_connections
        self._replaced: dict[tuple[str, str], Callable[..., Any]] = {}
        self._turns = Turns()
        self._lent = LentConnections({})
        self._cleanup = ExitStack()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    # -- life cycle -------------------------------------------------------------------------

    def start(self) -> None:
        """Serve all aliases of ``AMPHORA``.

        Raises:
            RuntimeError: The process is not monkey-patched.
            ImproperlyConfigured: Something is wrong with the settings.
        """
        check_patched()
        self._lent = LentConnections.of_this_greenlet(only_in_memory=self._own_connections)
        with ExitStack() as stack:
            stack.enter_context(override_settings(AMPHORA=on_memory(settings.AMPHORA)))
            for alias in servers:
                servers[alias].surround(self._run, partial(self._stand_in, alias))
                stack.callback(servers[alias].surround)
                self._serve(alias)
            self._cleanup = stack.pop_all()

    def stop(self) -> None:
        """Stop serving, and give the project its own settings back.

        Raises:
            AssertionError: A function still runs.
        """
        with self._cleanup:
            running = [alias for alias in servers if not servers[alias].prepare_stop(timeout=self._grace)]
        if running:
            raise AssertionError(
                f"Remote functions of {', '.join(map(repr, running))} still run after the test. Wait for the results "
                "of deferred calls before it ends, and end what waits forever."
            )

    def _serve(self, alias: str) -> None:
        server, client = servers[alias].real, clients[alias].real
        # The last is the innermost: calls are recorded when they are sent, before they are waited for.
        client.add_middleware(partial(self._wait, alias))
        client.add_middleware(self._turns.tell)
        client.add_middleware(partial(self._record, alias))
        server.serve()
        for endpoint in (server, client):
            endpoint.wait_connected()

    # -- around each call -------------------------------------------------------------------

    def _record(self, alias: str, request: OutgoingRequest, send: Callable[[], AsyncResult[Any]]) -> AsyncResult[Any]:
        """Record what the client of an alias sends (a client's middleware)."""
        result = send()
        self._calls.append(SentCall(alias, request.function, request.args, request.kwargs, request.routing_key, result))
        return result

    def _wait(self, alias: str, request: OutgoingRequest, send: Callable[[], AsyncResult[Any]]) -> AsyncResult[Any]:
        """Wait until a function has run (a client's middleware)."""
        result = send()
        if self._wait_for_deferred and not request.routing_key and not self._hides_something():
            result.wait()
            if request.one_way and result.successful() and request.function in servers[alias].functions:
                # A cast has no reply.
                self._casts.setdefault(request.id, Event()).wait(self._grace)
                self._casts.pop(request.id, None)
        return result

    def _hides_something(self) -> bool:
        """Return whether the caller is in a transaction that handlers cannot look into, but may want the locks of."""
        return any(each.in_atomic_block for each in connections.all(initialized_only=True) if each not in self._lent)

    def _run(self, request: CurrentRequest, call: Callable[[], Any]) -> Any:
        """Run a function on the test's connections (a server's middleware)."""
        with ExitStack() as stack:
            if request.client is None and self._wait_for_deferred:
                stack.callback(self._casts.setdefault(request.id, Event()).set)
            # Connections of its own would keep the test's database from being emptied, or deleted.
            stack.callback(connections.close_all)
            if self._lent:
                stack.enter_context(self._turns.turn(request))
                stack.enter_context(self._lent.borrowed())
            return call()

    def _stand_in(self, alias: str, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            return self._replaced.get((alias, name), function)(*args, **kwargs)

        return run

    # -- what tests use ---------------------------------------------------------------------

    def replace(self, name: str, function: Callable[..., Any], alias: str = DEFAULT_ALIAS) -> None:
        """Run another function in the place of a remote one, until the end of the test.

        There need not be such a remote function: this way a test plays the service of another project.

        Args:
            name: Its remote name.
            function: What runs instead; what it raises reaches the caller as a `RemoteException`.
            alias: Alias of its service in ``AMPHORA``.
        """
        self._replaced[alias, name] = function
        if name not in servers[alias].real.functions:
            servers[alias].real.add_function(self._stand_in(alias, name, function), name)

    def calls_of(self, function: str, alias: str | None = None) -> list[SentCall]:
        """Return the calls of one function.

        Args:
            function: Its remote name.
            alias: Alias of its service; by default that of any.
        """
        return [each for each in super().calls_of(function) if alias in (None, each.alias)]

    def wait(self, timeout: float = 30.0) -> None:
        """Wait for the end of all calls that were made, those that they make in turn included.

        Args:
            timeout: Seconds to wait at most.

        Raises:
            AssertionError: One has not ended by then; the text tells which.
        """
        deadline = monotonic() + timeout
        for call in self._calls:
            if not call.result.ready() and not gevent.wait([call.result], timeout=max(0.0, deadline - monotonic())):
                raise AssertionError(f"{call} has not ended within {timeout:g} s")
