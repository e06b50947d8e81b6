"""`LazyClient`: makes the client of an alias on first use."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from amphora import AmqpRpcClient, AmqpRpcFanoutClient, PrettyCaller, make_client
from amphora.contrib.django.lazy import LazyEndpoint
from amphora.contrib.django.on_commit import caller_on_commit
from amphora.contrib.django.process import check_event_loop, check_process

__all__ = ["LazyClient"]

Function = TypeVar("Function", bound=Callable[..., Any])


class LazyClient(LazyEndpoint[AmqpRpcClient]):
    """Stands for the client of an alias, and makes it on first use, one for each process.

    All that `amphora.AmqpRpcClient` has is here too.
    """

    _like = AmqpRpcClient

    def __init__(self, alias: str) -> None:
        super().__init__(alias)
        self._tunings: list[tuple[str, Any]] = []
        self._in_thread = False

    @property
    def call(self) -> PrettyCaller:
        """Call a remote function and wait for its result; see `amphora.AmqpRpcClient.call`."""
        return self.real.call

    @property
    def defer(self) -> PrettyCaller:
        """Call a remote function without waiting for its result; see `amphora.AmqpRpcClient.defer`."""
        return self.real.defer

    @property
    def defer_on_commit(self) -> PrettyCaller:
        """Call a remote function when the transaction commits, and not if it is rolled back.

        ``client.defer_on_commit.name(...)``, or with options ``client.defer_on_commit(using="other").name(...)``.
        Outside of a transaction the call is sent at once. It is sent by `django.db.transaction.on_commit`: in a
        `django.test.TestCase`, see ``captureOnCommitCallbacks``.

        Options:
            using (str): Alias of the database whose transaction is meant; by default the setting ``USING``.
            robust (bool): Whether an error of sending is logged, instead of raised when the transaction has
                committed, where it would keep other callbacks from running. Off by default.
            All options of `defer`: with ``wait_publish=False`` no view waits for the broker.

        Returns:
            A `PrettyCaller`; calling it returns None, as there is no result before the commit.

        Raises:
            TypeError: An argument cannot be encoded; raised at once, so that the transaction is rolled back.
        """
        return caller_on_commit(self)

    def tune_function(self, func_name: str) -> Callable[[Function], Function]:
        """Choose the routing key of a remote function's calls; see `amphora.AmqpRpcClient.tune_function`."""

        def decorate(tuning: Function) -> Function:
            self._tunings.append((func_name, tuning))
            if (real := self._made()) is not None:
                real.tune_function(func_name)(tuning)
            return tuning

        return decorate

    def allow_thread(self) -> None:
        """Let the client of a process that is not patched live in a thread of its own, instead of being refused.

        For processes such as those of Celery's prefork pool. It is a `amphora.ThreadedClient` there.
        """
        self._in_thread = True

    def _make(self) -> AmqpRpcClient:
        settings = self.settings
        kind: Any = AmqpRpcFanoutClient if settings.fanout else AmqpRpcClient
        if self._in_thread or settings.threaded:
            check_event_loop()
            kind = partial(make_client, fanout=settings.fanout)
        else:
            check_process(self.alias, f"Or let calls wait in threads: AMPHORA[{self.alias!r}]['THREADED'] = True.")
        client: AmqpRpcClient = self._build(kind, settings, settings.client_options)
        for name, tuning in self._tunings:
            client.tune_function(name)(tuning)
        return client
