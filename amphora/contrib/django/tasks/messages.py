"""Task results as plain values, to travel in requests and to lie in a cache."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from traceback import format_exception
from typing import Any

from django.tasks import TaskResult, TaskResultStatus
from django.tasks.base import Task, TaskError
from django.utils.module_loading import import_string

__all__ = ["read_result", "task_error", "write_error", "write_result"]

_TIMES = ("enqueued_at", "started_at", "last_attempted_at", "finished_at")


def write_result(result: TaskResult) -> dict[str, Any]:
    """Turn a result into what JSON knows."""
    task = result.task
    return {
        "task": task.module_path,
        "queue_name": task.queue_name,
        "backend": result.backend,
        "id": result.id,
        "status": str(result.status),
        "args": result.args,
        "kwargs": result.kwargs,
        "worker_ids": list(result.worker_ids),
        "errors": [write_error(error) for error in result.errors],
        "return_value": result._return_value,
        **{name: _written(getattr(result, name)) for name in _TIMES},
    }


def read_result(message: Mapping[str, Any]) -> TaskResult:
    """Turn what `write_result` gave into a result.

    Raises:
        ImportError: The task's module, or the task in it, is not there.
        TypeError: What is there under the task's name is no task.
        InvalidTask: Its backend does not take it.
    """
    result = TaskResult(
        task=_task(message),
        id=message["id"],
        status=TaskResultStatus(message["status"]),
        args=message["args"],
        kwargs=message["kwargs"],
        backend=message["backend"],
        worker_ids=list(message["worker_ids"]),
        errors=[TaskError(exception_class_path=path, traceback=text) for path, text in message["errors"]],
        **{name: _read(message[name]) for name in _TIMES},
    )
    object.__setattr__(result, "_return_value", message["return_value"])
    return result


def write_error(error: TaskError) -> list[str]:
    """Turn an error of a result into what JSON knows."""
    return [error.exception_class_path, error.traceback]


def task_error(error: BaseException) -> TaskError:
    """Describe an exception as Django does."""
    kind = type(error)
    return TaskError(
        exception_class_path=f"{kind.__module__}.{kind.__qualname__}", traceback="".join(format_exception(error))
    )


def _task(message: Mapping[str, Any]) -> Task:
    path = message["task"]
    try:
        found = import_string(path)
    except ImportError as error:
        raise ImportError(f"this release of the project has no task {path}: {error}") from error
    if not isinstance(found, Task):
        raise TypeError(f"{path} is no task, but {found!r}: only functions with Django's @task are run")
    return found.using(queue_name=message["queue_name"], backend=message["backend"])


def _written(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()


def _read(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
