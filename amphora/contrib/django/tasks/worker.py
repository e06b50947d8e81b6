"""Runs tasks, in the servers of ``runserver_rpc``."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, transaction
from django.tasks import TaskContext, TaskResult, TaskResultStatus, task_backends
from django.tasks.signals import task_finished, task_started
from django.utils import timezone
from django.utils.json import normalize_json
from django.utils.module_loading import import_string
from gevent import GreenletExit

from amphora import IgnoreRequest
from amphora.contrib.django.conf import DEFAULT_ALIAS
from amphora.contrib.django.endpoints import servers
from amphora.contrib.django.tasks.backend import RUN_TASK, AmphoraBackend
from amphora.contrib.django.tasks.messages import read_result, task_error

__all__ = ["add_to_servers", "run_task"]

logger = logging.getLogger(__name__)

#: What ends the worker, or gives the task to another one, and is no failure of the task.
_NO_FAILURE = (GreenletExit, IgnoreRequest, KeyboardInterrupt)

#: Aliases whose servers run tasks already.
_added: set[str] = set()


def add_to_servers() -> None:
    """Let the servers of all aliases that ``TASKS`` names run tasks."""
    for params in getattr(settings, "TASKS", {}).values():
        try:
            kind = import_string(params["BACKEND"])
        except (ImportError, ImproperlyConfigured, KeyError, TypeError):
            # Django's own check tells.
            continue
        options = params.get("OPTIONS", {})
        if isinstance(kind, type) and issubclass(kind, AmphoraBackend):
            _add_to_server(options.get("ALIAS", DEFAULT_ALIAS))


def _add_to_server(alias: str) -> None:
    if alias in _added:
        return
    try:
        servers[alias].add_function(_outside_of_transactions(run_task), RUN_TASK)
    except ImproperlyConfigured:
        # The backend's check tells.
        return
    _added.add(alias)


def run_task(message: Mapping[str, Any]) -> None:
    """Run a task of Django's task framework."""
    backend = task_backends[message["backend"]]
    try:
        result = read_result(message)
    except Exception as error:
        # Such as a task that this worker's release of the project does not have.
        if backend.results is not None:
            backend.results.save_as_failed(message, error)
        raise
    known = None if backend.results is None else backend.results.find_if_possible(result.id)
    if known is not None:
        if known.is_finished:
            logger.info("task %r has come again, and was finished before", result.id)
            return
        result = known
    _run(backend, result)


def _run(backend: AmphoraBackend, result: TaskResult) -> None:
    now = timezone.now()
    started_at = now if result.started_at is None else result.started_at
    result.worker_ids.append(servers[backend.service_alias].uuid)
    _change(backend, result, status=TaskResultStatus.RUNNING, started_at=started_at, last_attempted_at=now)
    task_started.send(sender=type(backend), task_result=result)
    context = (TaskContext(task_result=result),) if result.task.takes_context else ()
    try:
        value = normalize_json(result.task.call(*context, *result.args, **result.kwargs))
    except _NO_FAILURE:
        _change(backend, result, status=TaskResultStatus.READY)
        raise
    except BaseException as error:  # noqa: BLE001  (whatever a user's function raises)
        result.errors.append(task_error(error))
        _change(backend, result, status=TaskResultStatus.FAILED, finished_at=timezone.now())
        # Here, where the log finds the traceback.
        task_finished.send(sender=type(backend), task_result=result)
    else:
        done = TaskResultStatus.SUCCESSFUL
        _change(backend, result, status=done, finished_at=timezone.now(), _return_value=value)
        task_finished.send(sender=type(backend), task_result=result)


def _change(backend: AmphoraBackend, result: TaskResult, **changes: Any) -> None:
    """Change a result, which Django has frozen, and keep it where results are kept."""
    for name, value in changes.items():
        object.__setattr__(result, name, value)
    if backend.results is not None:
        backend.results.save_if_possible(result)


def _outside_of_transactions(function: Any) -> Any:
    """Keep ``ATOMIC_REQUESTS`` away from a function that lets no exception out: nothing would be rolled back."""
    for alias in connections:
        function = transaction.non_atomic_requests(using=alias)(function)
    return function
