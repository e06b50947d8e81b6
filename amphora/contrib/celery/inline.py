"""Celery tasks as remote functions that run at once, in the greenlet of the request."""

from __future__ import annotations

from collections.abc import Callable
from socket import gethostname
from typing import Any
from uuid import uuid4

import gevent
from celery.app.task import Context
from celery.app.trace import build_tracer
from celery.exceptions import Reject, Retry, SoftTimeLimitExceeded, TimeLimitExceeded

from amphora import CurrentRequest, IgnoreRequest, current_request
from amphora.contrib.celery.context import sender_of

__all__ = ["InlineTask", "RetryRefused"]


class RetryRefused(Exception):
    """A task that runs inline asked for a retry: its caller waits, and gets an answer now or never."""


class InlineTask:
    """Runs a task's body for a request, with all that a worker does around it.

    The task has a request of its own (``self.request.id`` is the id of the RPC request, ``is_eager`` is
    true), its ``before_start``, ``on_success``, ``on_failure`` and ``after_return`` are called and its signals
    sent, and its time limits hold. No result is stored.

    Args:
        task: The task.
    """

    def __init__(self, task: Any) -> None:
        self.task = task
        self.__name__ = task.__name__
        self.__doc__ = task.run.__doc__
        self.__wrapped__ = task.run
        self._trace: Callable[..., Any] | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the task.

        Returns:
            What its body returns.

        Raises:
            RetryRefused: It asked for a retry.
            IgnoreRequest: It raised ``Reject(requeue=True)``: another server gets the request.
            Exception: What its body raises.
        """
        task = self.task
        if self._trace is None:
            self._trace = build_tracer(task.name, task, eager=True, propagate=False, app=task.app)
        request = _request_of(task, current_request())
        retries: list[None] = []

        def execution_options() -> Any:
            retries.append(None)
            return Context.as_execution_options(task.request)

        # What a retry asks the task's request for, one with throw=False too, which would get lost otherwise.
        request["as_execution_options"] = execution_options
        with _Limits(task):
            outcome = self._trace(request["id"], args, kwargs, request)
        if outcome.info is not None:
            raise _error_of(task, outcome.info.retval)
        if retries:
            raise _refusal(task, None)
        return outcome.retval


class _Limits:
    """The time limits of a task that runs in this greenlet."""

    def __init__(self, task: Any) -> None:
        self._hard = gevent.Timeout(task.time_limit)
        soft = task.soft_time_limit
        self._soft = gevent.Timeout(soft, SoftTimeLimitExceeded(soft)) if soft is not None else None
        self._limit = task.time_limit

    def __enter__(self) -> None:
        self._hard.start()
        if self._soft is not None:
            self._soft.start()

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        self._hard.close()
        if self._soft is not None:
            self._soft.close()
        if error is self._hard:
            raise TimeLimitExceeded(self._limit) from None


def _request_of(task: Any, request: CurrentRequest | None) -> dict[str, Any]:
    """Return what becomes the task's request."""
    headers = {} if request is None else dict(request.headers)
    root_id, parent_id = sender_of(request)
    request_id = str(uuid4()) if request is None or request.id is None else request.id
    return {
        "id": request_id,
        "task": task.name,
        "root_id": root_id or request_id,
        "parent_id": parent_id,
        "retries": 0,
        # So that a retry is raised here, and not sent to the queue.
        "is_eager": True,
        "hostname": gethostname(),
        "headers": headers,
        "timelimit": [task.time_limit, task.soft_time_limit],
        "ignore_result": task.ignore_result,
        "delivery_info": {
            "is_eager": True,
            "exchange": None,
            "routing_key": None,
            "priority": None,
            "redelivered": request is not None and request.redelivered,
        },
    }


def _error_of(task: Any, error: Any) -> Exception:
    """Return what a task that ended with this exception raises as a remote function."""
    if isinstance(error, Retry):
        return _refusal(task, error.exc)
    if isinstance(error, Reject) and error.requeue:
        ignored = IgnoreRequest(str(error.reason))
        ignored.__cause__ = error
        return ignored
    failure: Exception = error
    return failure


def _refusal(task: Any, cause: Exception | None) -> RetryRefused:
    failed = "" if cause is None else f"; it failed with {type(cause).__name__}: {cause}"
    refusal = RetryRefused(
        f"task {task.name} cannot be retried where it runs inline as a remote function{failed} "
        "(expose it with via='queue', or catch this and call again)"
    )
    refusal.__cause__ = cause
    return refusal
