"""The backend: sends tasks to a service, in whose servers they run."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.core.exceptions import ImproperlyConfigured
from django.tasks import DEFAULT_TASK_QUEUE_NAME, TaskResult, TaskResultStatus
from django.tasks.backends.base import BaseTaskBackend
from django.tasks.base import Task
from django.tasks.exceptions import TaskResultDoesNotExist
from django.tasks.signals import task_enqueued
from django.utils import timezone
from django.utils.crypto import get_random_string

from amphora import AmqpRpcClient, NoResult
from amphora.contrib.django.conf import DEFAULT_ALIAS, service
from amphora.contrib.django.endpoints import clients
from amphora.contrib.django.tasks.messages import write_result
from amphora.contrib.django.tasks.results import TaskResults, is_shared

__all__ = ["RUN_TASK", "AmphoraBackend"]

#: Name of the remote function that runs tasks.
RUN_TASK = "django.tasks.run"

#: ``OPTIONS`` of the backend and their defaults.
_OPTIONS: Mapping[str, Any] = {
    "ALIAS": DEFAULT_ALIAS,
    "RESULT_CACHE": None,
    "RESULT_TIMEOUT": 86_400,
}


#: The queues that each client has created. Not of the backend: Django makes one for each thread, which greenlets are.
_created: WeakKeyDictionary[AmqpRpcClient, set[str]] = WeakKeyDictionary()


class AmphoraBackend(BaseTaskBackend):
    """Sends tasks to the service of an alias; its servers (``manage.py runserver_rpc``) run them.

    `enqueue` returns when the broker has stored the task. From then on the task runs at least once, whatever happens to
    the process that has sent it, to workers and to the broker. A worker acknowledges a task when it has ended: one
    whose worker dies runs again.

    Tasks of the queue "default" come to the service's own queue, those of another one to the queue of the label of that
    name (``runserver_rpc --queue NAME``, or ``QUEUES`` in ``AMPHORA``).

    Options (``OPTIONS``):
        ALIAS (str): Alias in ``AMPHORA``; "default" by default.
        RESULT_CACHE (str | None): Alias in ``CACHES`` of a cache that keeps results, which all processes must share.
            None, the default, keeps none.
        RESULT_TIMEOUT (float | None): Seconds for which a result is kept after its latest change; None for as long as
            the cache can. A day by default.

    Attributes:
        supports_get_result (bool): Whether there is a ``RESULT_CACHE`` that other processes see too.
    """

    # RabbitMQ delivers at once, and in the order of the queue.
    supports_defer = False
    supports_priority = False
    # An event loop of asyncio has its thread for itself, and all greenlets are in one thread.
    supports_async_task = False

    def __init__(self, alias: str, params: Mapping[str, Any]) -> None:
        super().__init__(alias, params)
        options = {**_OPTIONS, **self.options}
        self.service_alias: str = options["ALIAS"]
        self.results: TaskResults | None = None
        cache = options["RESULT_CACHE"]
        if cache is not None:
            self.results = TaskResults(cache, options["RESULT_TIMEOUT"])
        self.supports_get_result = cache in settings.CACHES and is_shared(cache)

    def enqueue(self, task: Task, args: Sequence[Any], kwargs: Mapping[str, Any]) -> TaskResult:
        """Send a task; it is stored by the broker when this returns.

        Raises:
            InvalidTask: The backend does not take it: asynchronous, with a priority or ``run_after``, of another queue.
            TypeError: An argument is nothing for JSON.
            NoResult: The broker has not confirmed it within the client's timeout; it may still be sent.
            Backlogged, BrokerError: See `amphora.AmqpRpcClient.defer`.
        """
        self.validate_task(task)
        result = TaskResult(
            task=task,
            id=get_random_string(32),
            status=TaskResultStatus.READY,
            enqueued_at=timezone.now(),
            started_at=None,
            last_attempted_at=None,
            finished_at=None,
            args=args,
            kwargs=kwargs,
            backend=self.alias,
            errors=[],
            worker_ids=[],
        )
        if self.results is not None:
            # Before it is sent: a worker may be quicker than this process.
            self.results.save(result)
        try:
            self._send(result)
        except NoResult:
            # It may still be sent.
            raise
        except Exception:
            if self.results is not None:
                self.results.forget(result.id)
            raise
        task_enqueued.send(type(self), task_result=result)
        return result

    def get_result(self, result_id: str) -> TaskResult:
        """Return a result, whichever process has enqueued the task.

        Raises:
            NotImplementedError: There is no ``RESULT_CACHE``.
            TaskResultDoesNotExist: The cache has no such result, or no more.
        """
        if self.results is None:
            raise NotImplementedError(
                f"TASKS[{self.alias!r}] keeps no results: name a cache that all processes share in "
                "OPTIONS['RESULT_CACHE']"
            )
        found = self.results.find(result_id)
        if found is None:
            raise TaskResultDoesNotExist(result_id)
        return found

    def check(self, **_: Any) -> list[CheckMessage]:
        """Check ``OPTIONS`` (a system check)."""
        place = f"TASKS[{self.alias!r}]['OPTIONS']"
        wrong = []
        for name in self.options:
            if name not in _OPTIONS:
                close = difflib.get_close_matches(name, _OPTIONS, n=1)
                hint = f"Did you mean {close[0]!r}?" if close else f"The options are {', '.join(_OPTIONS)}."
                wrong.append(Error(f"{place} has an unknown option {name!r}.", hint=hint, id="amphora.E051"))
        try:
            if service(self.service_alias).fanout:
                text = f"{place} names a fan-out service, all of whose servers would run each task."
                wrong.append(Error(text, hint="Let ALIAS name one without FANOUT.", id="amphora.E052"))
        except ImproperlyConfigured as error:
            wrong.append(Error(f"{place}: {error}", id="amphora.E053"))
        wrong += self._check_cache(place)
        return wrong

    def _check_cache(self, place: str) -> list[CheckMessage]:
        cache = self.options.get("RESULT_CACHE")
        if cache is None or self.supports_get_result:
            return []
        if cache not in settings.CACHES:
            text = f"{place} names the cache {cache!r}, which is not in CACHES."
        else:
            text = f"{place} names the cache {cache!r}, in which no process finds what another one has put there."
        hint = "Let RESULT_CACHE name a cache in Redis, Memcached, the database or files, or leave it out."
        return [Error(text, hint=hint, id="amphora.E054")]

    def _send(self, result: TaskResult) -> None:
        client = clients[self.service_alias]
        # Not the deadline of a request in whose course this is sent: no caller waits for a task.
        options: dict[str, Any] = {"function_name": RUN_TASK, "expires": False}
        queue = result.task.queue_name
        if queue != DEFAULT_TASK_QUEUE_NAME:
            created = _created.setdefault(client.real, set())
            if queue not in created:
                client.create_new_request_queue(queue)
                created.add(queue)
            options["routing_key"] = queue
        client.defer(**options)(write_result(result))
