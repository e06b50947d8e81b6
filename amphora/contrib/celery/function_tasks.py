"""Remote functions that are Celery tasks as well."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import update_wrapper
from typing import Any

from amphora import CurrentRequest, IgnoreRequest
from amphora.contrib.celery.context import within_task
from amphora.contrib.celery.inline import InlineTask
from amphora.contrib.celery.queued import QueuedTask

__all__ = ["InTaskContext", "register_function", "task_name"]

#: Seconds after which a task whose function ignores it is tried again.
_IGNORE_DELAY = 1.0


def task_name(service: str, function: str) -> str:
    """Return the name of the task of a remote function."""
    return f"amphora.{service}.{function}"


def register_function(app: Any, service: str, name: str, function: Callable[..., Any], options: dict[str, Any]) -> None:
    """Let Celery know a remote function as a task, unless it does already.

    A worker that gets the task runs the function itself, without a call. `IgnoreRequest` gives the task to
    another worker, or to this one again, a second later. Tasks that are exposed as functions are tasks already.

    Args:
        app: The Celery application.
        service: Name of the service.
        name: Remote name of the function.
        function: The function.
        options: Options of the task.
    """
    full_name = task_name(service, name)
    if isinstance(function, (InlineTask, QueuedTask)) or full_name in app.tasks:
        return

    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except IgnoreRequest as error:
            if self.request.called_directly or self.request.is_eager:
                raise
            raise self.retry(exc=error, countdown=_IGNORE_DELAY) from error

    update_wrapper(run, function)
    last = name.rpartition(".")[2]
    run.__name__ = run.__qualname__ = last if last.isidentifier() else "function"
    given = {"max_retries": None, "shared": False, **options}
    checked = staticmethod(_arguments_check(function))
    app.task(name=full_name, bind=True, lazy=False, __header__=checked, **given)(run)


def _arguments_check(function: Callable[..., Any]) -> Callable[..., None]:
    """Return what raises a TypeError for arguments that the function does not take, where the task is sent.

    (What Celery itself makes of a function's signature cannot be made of that of a lambda, or of a built-in one.)
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return lambda *args, **kwargs: None  # noqa: ARG005

    def check(*args: Any, **kwargs: Any) -> None:
        signature.bind(*args, **kwargs)

    return check


class InTaskContext:
    """Lets a remote function run as its task does: what it sends to Celery knows where it comes from.

    Middleware of a server, see `AmqpRpcServer.add_middleware`.

    Args:
        app: The Celery application.
        service: Returns the name of the service.
    """

    def __init__(self, app: Any, service: Callable[[], str]) -> None:
        self._app = app
        self._service = service

    def __call__(self, request: CurrentRequest, call: Callable[[], Any]) -> Any:
        """Run the rest with the task of the function as Celery's current one."""
        # Tasks that run inline enter a context of their own.
        task = self._app.tasks.get(task_name(self._service(), request.function))
        if task is None:
            return call()
        with within_task(task, request):
            return call()
