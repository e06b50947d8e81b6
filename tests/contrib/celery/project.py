"""The application of the tests with real workers: `celery -A tests.contrib.celery.project worker`.

It is told by its environment: PROJECT_BROKER, PROJECT_SERVICE.
"""

from __future__ import annotations

import os
import time
from typing import Any

from celery import Celery
from celery.exceptions import SoftTimeLimitExceeded

from amphora import RemoteException
from amphora.contrib.celery import Amphora

#: Seconds for whatever a busy machine may be slow at.
PATIENCE = 60.0

#: Tasks with queues of their own.
UNHEARD = ("revoked", "expired", "given_up")


def make_app(broker: str, service: str) -> Any:
    """Make the application, for a worker or for the process of the tests."""
    app = Celery("project", broker=broker, backend="rpc://", set_as_current=False)
    app.conf.amphora_service_name = service
    app.conf.amphora_timeout = PATIENCE
    app.conf.task_default_queue = service
    app.conf.task_routes = {name: {"queue": f"{service}_{name}"} for name in UNHEARD}
    app.conf.broker_connection_retry_on_startup = True
    Amphora(app)
    add_tasks(app)
    return app


def add_tasks(app: Any) -> None:
    """Add the tasks."""
    call = app.amphora.client

    @app.task(bind=True, name="describe", time_limit=300, soft_time_limit=200)
    def describe(self: Any) -> dict[str, Any]:
        """Call the service, and say who called."""
        return {
            "id": self.request.id,
            "root": self.request.root_id,
            "client": type(call.real).__name__,
            "pid": os.getpid(),
            "told": call.call.describe(),
            "deferred": [result.get(timeout=PATIENCE) for result in [call.defer.echo(i) for i in range(10)]],
        }

    @app.task(name="fail")
    def fail() -> Any:
        """Return what an exception of the service looks like."""
        try:
            call.call.fail()
        except RemoteException as error:
            return [error.error_type, list(error.args)]

    @app.task(name="wait", soft_time_limit=1)
    def wait(name: str) -> list[Any]:
        """Wait for the service until the soft time limit ends that, and call again."""
        began = time.monotonic()
        try:
            call.call.hold(name)
        except SoftTimeLimitExceeded:
            return ["SoftTimeLimitExceeded", time.monotonic() - began < PATIENCE, call.call.echo("again")]
        return ["it did not end", False, None]

    @app.task(bind=True, name="whose")
    def whose(self: Any) -> list[Any]:
        """Return who sent this task."""
        return [self.request.id, self.request.root_id, self.request.parent_id, self.request.get("traceparent")]

    @app.task(name="double", amphora={"name": "double", "via": "queue"})
    def double(x: Any) -> Any:
        if x is None:
            raise KeyError("nothing to double")
        return 2 * x

    @app.task(name="relayed", amphora={"name": "relayed", "via": "queue"})
    def relayed() -> Any:
        return [app.current_task.request.parent_id, app.current_task.request.root_id, call.call.describe()]

    for name in UNHEARD:

        @app.task(name=name, amphora="queue")
        def unheard() -> None:
            """Never run: no worker takes from its queue before a test says so."""


if "PROJECT_BROKER" in os.environ:
    app = make_app(os.environ["PROJECT_BROKER"], os.environ["PROJECT_SERVICE"])
