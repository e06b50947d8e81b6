"""Celery tasks that are remote functions as well: which, under what name, and how they run."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from celery.exceptions import ImproperlyConfigured

from amphora.contrib.celery.conf import Conf
from amphora.contrib.celery.inline import InlineTask
from amphora.contrib.celery.queued import QueuedTask

__all__ = ["Exposed", "exposed_by_option", "function_of"]

VIAS = ("inline", "queue")


@dataclass(frozen=True, slots=True)
class Exposed:
    """A task that is a remote function as well.

    Args:
        task: The task (perhaps not evaluated yet), or its name.
        name: Name of the function; None for the name of the task.
        via: ``"inline"`` or ``"queue"``.

    Raises:
        ValueError: There is no such way to run it.
    """

    task: Any
    name: str | None = None
    via: str = "inline"

    def __post_init__(self) -> None:
        if self.via not in VIAS:
            close = difflib.get_close_matches(str(self.via), VIAS, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise ValueError(f"via must be 'inline' or 'queue', not {self.via!r}{hint}")


def exposed_by_option(task: Any) -> Exposed | None:
    """Read the option ``amphora`` of a task: ``@app.task(amphora=True)``.

    Returns:
        What it asks for; None if it is not given, or False.

    Raises:
        ImproperlyConfigured: It is none of True, ``"inline"``, ``"queue"`` and a dict with ``name`` and ``via``.
    """
    option = getattr(task, "amphora", None)
    if not option:
        return None
    try:
        if option is True:
            return Exposed(task)
        if isinstance(option, str):
            return Exposed(task, via=option)
        if isinstance(option, dict):
            return Exposed(task, **option)
    except (TypeError, ValueError) as error:
        raise ImproperlyConfigured(f"task {task.name}: amphora={option!r}: {error}") from error
    raise ImproperlyConfigured(
        f"task {task.name}: amphora must be True, 'inline', 'queue' or a dict with name and via, not {option!r}"
    )


def function_of(exposed: Exposed, app: Any, conf: Conf) -> tuple[str, Callable[..., Any]]:
    """Return the remote function of a task, and its name.

    Raises:
        ImproperlyConfigured: There is no such task, or no result backend for ``via="queue"``.
    """
    wanted = exposed.task
    task = app.tasks.get(wanted if isinstance(wanted, str) else wanted.name)
    if task is None:
        raise ImproperlyConfigured(f"no task {wanted!r} that could be exposed: is its module imported?")
    function = QueuedTask(task, conf) if exposed.via == "queue" else InlineTask(task)
    return exposed.name or task.name, function
