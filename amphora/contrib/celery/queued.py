"""Celery tasks as remote functions that send the task to its queue and wait for its result."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from celery.backends.base import DisabledBackend
from celery.exceptions import ImproperlyConfigured
from celery.exceptions import TimeoutError as CeleryTimeoutError

from amphora import current_request
from amphora.contrib.celery.conf import Conf
from amphora.contrib.celery.context import sender_of

__all__ = ["QueuedTask"]


class QueuedTask:
    """Sends a task to Celery's queue for a request, and answers with its result.

    The task's id is that of the RPC request. A request with a deadline gives the task the same: after it,
    Celery's workers do not begin to run it.

    Args:
        task: The task.
        conf: The settings.

    Raises:
        ImproperlyConfigured: Celery has no result backend.
    """

    def __init__(self, task: Any, conf: Conf) -> None:
        self.task = task
        self._conf = conf
        self.__name__ = task.__name__
        self.__doc__ = task.run.__doc__
        self.__wrapped__ = task.run
        if isinstance(task.backend, DisabledBackend):
            raise ImproperlyConfigured(
                f"task {task.name} is exposed with via='queue', and there is no result backend to learn its result "
                "from: set result_backend (such as 'rpc://'), or expose it with via='inline'"
            )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Send the task and wait.

        Returns:
            Its result.

        Raises:
            TaskRevokedError: It was revoked, or expired before a worker began it.
            TimeoutError: There is no result within ``amphora_result_timeout``.
            Exception: What the task raised.
        """
        request = current_request()
        root_id, parent_id = sender_of(request)
        task_id = str(uuid4()) if request is None or request.id is None else request.id
        remaining = None if request is None else request.remaining
        if request is not None and request.redelivered:
            # Another server may have sent it, and died while it waited.
            earlier = self.task.AsyncResult(task_id)
            if earlier.ready():
                return earlier.get(disable_sync_subtasks=False)
        result = self.task.apply_async(
            args,
            kwargs,
            task_id=task_id,
            root_id=root_id,
            parent_id=parent_id,
            ignore_result=False,
            **({} if remaining is None else _expiring(remaining)),
        )
        timeout = self._conf.result_timeout
        try:
            return result.get(timeout=timeout, disable_sync_subtasks=False)
        except CeleryTimeoutError as error:
            raise TimeoutError(
                f"task {self.task.name}[{task_id}] has no result after {timeout:g} s (amphora_result_timeout): is "
                "there a worker for its queue?"
            ) from error


def _expiring(seconds: float) -> dict[str, Any]:
    """Return options that let a task expire, in such a way that a worker says so.

    The option ``expires`` lets the broker drop the message, and the task would be lost without a trace.
    """
    end = datetime.now(UTC) + timedelta(seconds=seconds)
    return {"expires": None, "headers": {"expires": end.isoformat()}}
