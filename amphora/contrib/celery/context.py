"""What a running task hands on to the calls it makes: its ids, its trace and its time limits."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from socket import gethostname
from time import monotonic, time
from typing import Any
from uuid import uuid4

import gevent
from celery import signals
from celery._state import pop_current_task, push_current_task
from celery.app.task import Context
from celery.exceptions import SoftTimeLimitExceeded

from amphora import CurrentRequest, OutgoingRequest, call_deadline, current_request

__all__ = ["follow_tasks", "hand_on", "received_trace", "sender_of", "within_task"]

#: Headers of a request that a task makes: the id of the task that began it all, that of the calling task, its name.
ROOT_ID = "celery_root_id"
CALLER_ID = "celery_parent_id"
CALLER = "celery_task"

#: Headers of the W3C's trace context, which pass through as they are (https://www.w3.org/TR/trace-context/).
TRACE = ("traceparent", "tracestate", "baggage")


class SoftLimit:
    """The soft time limit of a running task whose pool has none.

    It is raised once: from all calls that wait when the time has come, or from the next one.

    Args:
        limit: Seconds from now.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._end = monotonic() + limit
        self._raised = False

    def watch(self, result: Any) -> None:
        """Let it end a call.

        Args:
            result: The `gevent.event.AsyncResult` of the call, of the calling thread's hub.
        """
        if not self._raised:
            timer = gevent.spawn_later(max(0.0, self._end - monotonic()), self._end_call, result)
            result.rawlink(lambda _: timer.kill(block=False))

    def _end_call(self, result: Any) -> None:
        if not result.ready():
            self._raised = True
            result.set_exception(SoftTimeLimitExceeded(self._limit))


@dataclass(frozen=True, slots=True)
class RunningTask:
    """A task while it runs.

    Args:
        headers: Headers of the requests that it makes.
        soft_limit: Its soft time limit; None if it has none, or if something else raises it.
    """

    headers: Mapping[str, str]
    soft_limit: SoftLimit | None = None


_running: ContextVar[RunningTask | None] = ContextVar("amphora_celery_task", default=None)

#: Seconds by which the deadline of calls is later than a soft time limit: `SoftTimeLimitExceeded` comes first.
_GRACE = 1.0

#: What `task_prerun` began and `task_postrun` ends, in the task's request.
_SCOPE = "_amphora_scope"

#: The process that `celery worker` started; children of its prefork pool get soft time limits by a signal.
_worker_pid: int | None = None


def follow_tasks() -> None:
    """Learn of every task that begins and ends in this process; may be called again."""
    signals.worker_init.connect(_on_worker_init, weak=False, dispatch_uid="amphora.worker_init")
    signals.task_prerun.connect(_on_prerun, weak=False, dispatch_uid="amphora.task_prerun")
    signals.task_postrun.connect(_on_postrun, weak=False, dispatch_uid="amphora.task_postrun")
    signals.before_task_publish.connect(_on_publish, weak=False, dispatch_uid="amphora.before_task_publish")


def hand_on(request: OutgoingRequest, send: Any) -> Any:
    """Give a request the headers of the task that makes it, and let the task's soft time limit end the call.

    Middleware of a client, see `AmqpRpcClient.add_middleware`.
    """
    task = _running.get()
    if task is None:
        return send()
    for name, value in task.headers.items():
        request.headers.setdefault(name, value)
    result = send()
    if task.soft_limit is not None:
        task.soft_limit.watch(result)
    return result


@contextmanager
def within_task(task: Any, request: CurrentRequest) -> Iterator[None]:
    """Make a task the current one of Celery while a remote function runs in its stead.

    What is sent to Celery within the block has the request for its parent, and the root of that for its root.

    Args:
        task: The task.
        request: The request that the function runs for.
    """
    request_id = request.id or str(uuid4())
    headers = dict(request.headers)
    root_id, parent_id = sender_of(request)
    root_id = root_id or request_id
    current = Context(
        id=request_id,
        task=task.name,
        root_id=root_id,
        parent_id=parent_id,
        called_directly=False,
        hostname=gethostname(),
        headers=headers,
        delivery_info={"exchange": None, "routing_key": None, "priority": None, "redelivered": request.redelivered},
    )
    handed_on = {ROOT_ID: root_id, CALLER_ID: request_id, CALLER: task.name, **_trace_of(headers)}
    push_current_task(task)
    task.request_stack.push(current)
    token = _running.set(RunningTask(handed_on))
    try:
        yield
    finally:
        _running.reset(token)
        task.request_stack.pop()
        pop_current_task()


def sender_of(request: CurrentRequest | None) -> tuple[str | None, str | None]:
    """Return the ids of the task that began it all, and of the task that made a request; None for those unknown."""
    if request is None:
        return None, None
    # Any program may send a request: an id that is not text is not used.
    root_id, parent_id = (request.headers.get(name) for name in (ROOT_ID, CALLER_ID))
    return root_id if isinstance(root_id, str) else None, parent_id if isinstance(parent_id, str) else None


def received_trace() -> dict[str, str]:
    """Return the W3C headers of the request that this greenlet runs for."""
    request = current_request()
    return {} if request is None else _trace_of(request.headers)


def _trace_of(headers: Mapping[str, Any]) -> dict[str, str]:
    return {name: value for name in TRACE if isinstance(value := headers.get(name), str)}


def _on_worker_init(**_: Any) -> None:
    global _worker_pid
    _worker_pid = os.getpid()


def _on_prerun(*, task: Any, task_id: str, **_: Any) -> None:
    if getattr(task.app, "amphora", None) is None:
        return
    request = task.request
    limits = request.timelimit or (None, None)
    hard, soft = limits[0] or task.time_limit, limits[1] or task.soft_time_limit
    headers = {
        ROOT_ID: request.root_id or task_id,
        CALLER_ID: task_id,
        CALLER: task.name,
        **(_trace_of(request.headers or {}) or received_trace()),
    }
    # A pool of child processes raises it by itself, also in a call that waits.
    raised_by_pool = _worker_pid is not None and os.getpid() != _worker_pid
    soft_limit = None if soft is None or raised_by_pool or request.is_eager else SoftLimit(soft)
    scope = ExitStack()
    token = _running.set(RunningTask(headers, soft_limit))
    scope.callback(_running.reset, token)
    ends = [limit for limit in (hard, None if soft is None else soft + _GRACE) if limit is not None]
    scope.enter_context(call_deadline(time() + min(ends) if ends else None))
    request.__dict__[_SCOPE] = scope


def _on_postrun(*, task: Any, **_: Any) -> None:
    scope = task.request.__dict__.pop(_SCOPE, None)
    if scope is not None:
        scope.close()


def _on_publish(*, headers: Any = None, **_: Any) -> None:
    """Hand the trace of a request on to the tasks that its function sends."""
    if isinstance(headers, dict):
        for name, value in received_trace().items():
            headers.setdefault(name, value)
