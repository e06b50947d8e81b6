"""`celery inspect amphora`: what the workers' RPC servers do."""

from __future__ import annotations

from typing import Any

from celery.worker.control import inspect_command, nok

__all__ = ["STEP"]

#: Name of the worker's step.
STEP = "amphora"


@inspect_command(name="amphora", help="RPC services of the worker: functions, calls, errors, calls in flight.")
def amphora(state: Any, **_: Any) -> dict[str, Any]:
    """Answer for this worker."""
    step = state.consumer.controller.blueprint.steps.get(STEP)
    report: dict[str, Any] | None = None if step is None else step.report()
    return nok("no RPC server runs in this worker: start it with --amphora") if report is None else report
