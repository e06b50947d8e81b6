"""The worker's step that runs the application's RPC servers beside its tasks."""

from __future__ import annotations

import logging
from typing import Any

from celery.bootsteps import StartStopStep
from celery.exceptions import ImproperlyConfigured
from celery.platforms import EX_FAILURE
from click import ClickException
from gevent import monkey

from amphora.contrib.celery.inspection import STEP
from amphora.contrib.celery.serving import AppServing
from amphora.contrib.django.late_patching import patched_too_late

__all__ = ["AmphoraStep", "WorkerRefused"]

logger = logging.getLogger(__name__)


class WorkerRefused(ImproperlyConfigured, ClickException):
    """The worker cannot serve as it is started; the text says how to start it.

    On the command line it is an error message and the exit status 1, without a traceback.
    """


class AmphoraStep(StartStopStep):
    """Serves the functions of ``app.amphora`` while the worker runs.

    It is in the worker's blueprint and not in its consumer's: the consumer's steps are stopped and started again
    with each reconnect of Celery's, and the RPC servers have connections of their own, which look after themselves.

    ================= ==========================================================================================
    the worker        the RPC servers
    ================= ==========================================================================================
    is made           nothing yet; a pool other than gevent is refused here, before any process is forked
    consumes tasks    connect and take requests
    warm shutdown     take no more requests, answer those that run, disconnect; only then the pool goes
    cold shutdown     disconnect at once: what runs goes back to the queue, for another worker
    ================= ==========================================================================================

    A cold shutdown in the middle of a warm one ends the waiting.
    """

    name = STEP
    label = "Amphora"
    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, amphora: bool | None = None, **options: Any) -> None:
        super().__init__(worker, **options)
        self._serving: AppServing | None = None
        self._grace: float | None = worker.app.amphora.conf.grace
        self.enabled = bool(worker.app.amphora.conf.worker if amphora is None else amphora)
        if self.enabled:
            _refuse_other_pools(worker)
            self._serving = _serving_for(worker)
            # Whatever makes the worker (the program, an embedded one in a test), this is called when it consumes.
            self._ready, worker.ready_callback = worker.ready_callback, self._on_ready

    def start(self, worker: Any) -> None:
        """Nothing: the servers start when the worker consumes, which is after its last step has started."""

    def close(self, worker: Any) -> None:  # noqa: ARG002  (Celery's signature)
        """Take no more requests: the worker shuts down, warm or cold."""
        if self._serving is not None:
            self._serving.take_no_more()

    def stop(self, worker: Any) -> None:
        """Warm shutdown: answer the running calls, while the pool is still there."""
        if self._serving is not None:
            try:
                self._serving.finish(self._grace, hurry=lambda: worker.state.should_terminate not in (None, False))
            finally:
                self._serving.stop()

    def terminate(self, worker: Any) -> None:  # noqa: ARG002  (Celery's signature)
        """Cold shutdown: disconnect at once."""
        if self._serving is not None:
            self._serving.stop()

    def report(self) -> dict[str, Any] | None:
        """Return what the servers do by the service's name; None where the worker has none."""
        return None if self._serving is None else self._serving.report()

    def info(self, worker: Any) -> dict[str, Any]:  # noqa: ARG002  (Celery's signature)
        """Return what `celery inspect stats` shows of the servers."""
        return {"amphora": self.report()}

    def _on_ready(self, consumer: Any) -> None:
        self._ready(consumer)
        if self._serving is not None:
            self._serving.start()


def _serving_for(worker: Any) -> AppServing:
    """Make the servers, which connect later: the modules that add functions are imported by now.

    Raises:
        WorkerRefused: A setting is wrong or missing.
    """

    def give_up(error: Exception) -> None:
        logger.critical("the RPC server cannot start, so the worker ends: %s", error)
        worker.state.should_stop = EX_FAILURE

    try:
        serving = AppServing(worker.app.amphora, on_failure=give_up)
        serving.report()
    except ImproperlyConfigured as error:
        raise WorkerRefused(f"Amphora's server cannot run in this worker: {error}") from error
    return serving


def _refuse_other_pools(worker: Any) -> None:
    """Raise `WorkerRefused` unless the pool is gevent's, and gevent had patched before all else."""
    pool = worker.pool_cls.__module__.rpartition(".")[2]
    start = "Start it with `celery -A proj worker -P gevent --amphora`"
    if pool != "gevent":
        raise WorkerRefused(
            f"Amphora's server cannot run in this worker: its pool is {pool}, and the server needs gevent. {start}, "
            "or leave the server out of this worker (--no-amphora, or amphora_worker = False) and run it in a process "
            "of its own: `celery -A proj amphora serve`."
        )
    if not monkey.is_module_patched("socket"):
        raise WorkerRefused(
            "Amphora's server cannot run in this worker: the standard library is not patched by gevent. Celery "
            f"patches it only where the command line names the pool, as two words. {start}: the setting worker_pool "
            "comes too late for that, and so does -Pgevent."
        )
    if (late := patched_too_late()) is not None:
        raise WorkerRefused(f"Amphora's server cannot run in this worker: {late}")
