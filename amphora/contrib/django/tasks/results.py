"""Keeps the results of tasks in a cache of the project's, where all its processes find them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from django.core.cache import caches
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.locmem import LocMemCache
from django.tasks import TaskResult, TaskResultStatus
from django.utils import timezone

from amphora.contrib.django.tasks.messages import read_result, task_error, write_error, write_result

__all__ = ["TaskResults", "is_shared"]

logger = logging.getLogger(__name__)


class TaskResults:
    """Task results by id.

    Args:
        cache: Alias in ``CACHES``.
        seconds: How long a result is kept after its latest change; None for as long as the cache can.
    """

    def __init__(self, cache: str, seconds: float | None) -> None:
        self._cache = cache
        self._seconds = seconds

    def save(self, result: TaskResult) -> None:
        """Keep a result.

        Raises:
            Exception: What the cache raises.
        """
        self._save(write_result(result))

    def save_if_possible(self, result: TaskResult) -> None:
        """Keep a result; where the cache cannot, the log says so, and the task is run nonetheless."""
        self._save_if_possible(write_result(result))

    def save_as_failed(self, message: Mapping[str, Any], error: BaseException) -> None:
        """Keep that a task cannot be run which cannot even be read; where the cache cannot, the log says so.

        Args:
            message: What was to be read.
            error: Why it cannot.
        """
        failed = TaskResultStatus.FAILED
        described = [*message["errors"], write_error(task_error(error))]
        self._save_if_possible(
            {**message, "status": str(failed), "errors": described, "finished_at": timezone.now().isoformat()}
        )

    def find(self, result_id: str) -> TaskResult | None:
        """Return a result; None if there is none, or no more.

        Raises:
            Exception: What the cache raises, and `read_result`.
        """
        message = self._message(result_id)
        return None if message is None else read_result(message)

    def find_if_possible(self, result_id: str) -> TaskResult | None:
        """Return a result as `find` does; None, and a line in the log, where the cache cannot."""
        try:
            return self.find(result_id)
        except Exception:
            logger.exception("cache %r does not tell the state of task %r", self._cache, result_id)
            return None

    def forget(self, result_id: str) -> None:
        """Keep a result no more."""
        caches[self._cache].delete(_key(result_id))

    def _save(self, message: Mapping[str, Any]) -> None:
        caches[self._cache].set(_key(message["id"]), message, timeout=self._seconds)

    def _save_if_possible(self, message: Mapping[str, Any]) -> None:
        try:
            self._save(message)
        except Exception:
            # Each cache has errors of its own.
            text = "that task %r is %r was not kept in cache %r"
            logger.exception(text, message["id"], message["status"], self._cache)

    def _message(self, result_id: str) -> Any:
        return caches[self._cache].get(_key(result_id))


def is_shared(cache: str) -> bool:
    """Return whether other processes find what one has put into a cache."""
    return not isinstance(caches[cache], (DummyCache, LocMemCache))


def _key(result_id: str) -> str:
    return f"amphora:task:{result_id}"
