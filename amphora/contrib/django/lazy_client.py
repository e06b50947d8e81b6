"""`LazyClient`: makes the client of an alias on first use."""

from __future__ import annotations

from functools import partial
from typing import Any

from amphora import AmqpRpcClient, AmqpRpcFanoutClient, PrettyCaller, make_client
from amphora.contrib.django.alias_settings import AliasSettings
from amphora.contrib.django.conf import ServiceSettings
from amphora.contrib.django.on_commit import caller_on_commit, casting_caller_on_commit
from amphora.contrib.django.process import check_event_loop, check_process
from amphora.contrib.stand_ins.client_stand_in import ClientStandIn

__all__ = ["LazyClient"]


class LazyClient(ClientStandIn):
    """Stands for the client of an alias, and makes it on first use, one for each process.

    All that `amphora.AmqpRpcClient` has is here too.

    Args:
        alias: Key of its settings in ``AMPHORA``.
    """

    def __init__(self, alias: str) -> None:
        super().__init__()
        self._alias = AliasSettings(alias)
        self._in_thread = False

    def __repr__(self) -> str:
        real = self._made
        return f"<{type(self).__name__} {self.alias!r}{'' if real is None else f' {real!r}'}>"

    @property
    def alias(self) -> str:
        """Key of its settings in ``AMPHORA``."""
        return self._alias.alias

    @property
    def settings(self) -> ServiceSettings:
        """Its settings.

        Raises:
            ImproperlyConfigured: There is no such alias, or something is wrong with it.
        """
        return self._alias.service

    @property
    def service_name(self) -> str:
        """Namespace of the RPC service, according to the settings; nothing is made for it."""
        return self.settings.service_name

    @property
    def real(self) -> AmqpRpcClient:
        """The client of this process, made now if there is none yet.

        Raises:
            RuntimeError: The process is not monkey-patched; the text says where to do it.
            ImproperlyConfigured: Something is wrong with the settings, or with a module of handlers.
        """
        return self._per_process.get()

    def override(self, **options: Any) -> None:
        """Take other arguments than the settings' for the client that is made next.

        Args:
            options: Arguments of its constructor, which are added to those of earlier calls.
        """
        self._alias.override(options)

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

    @property
    def cast_on_commit(self) -> PrettyCaller:
        """Have a remote function run without a reply once the transaction commits; see `defer_on_commit`.

        Options:
            using, robust: See `defer_on_commit`.
            All options of `cast`.
        """
        return casting_caller_on_commit(self)

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
        client: AmqpRpcClient = self._alias.build(kind, settings.client_options)
        return client
