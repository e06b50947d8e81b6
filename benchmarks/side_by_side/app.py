"""The application that the worker and the clients share.

The environment says BENCH_BROKER (a URL) and BENCH_CELERY: plain, fast (set up for speed) or safe (and against losses).
"""

from __future__ import annotations

import os

from celery import Celery
from celery.signals import worker_ready

from amphora.contrib.celery import Amphora

SERVICE = "bench_side_by_side"
SETUP = os.environ["BENCH_CELERY"]
TUNED = SETUP in ("fast", "safe")

app = Celery("bench", broker=os.environ["BENCH_BROKER"], backend="rpc://")
app.conf.update(
    amphora_service_name=SERVICE,
    task_default_queue="bench_side_by_side_tasks",
    broker_connection_retry_on_startup=True,
    worker_redirect_stdouts=False,  # "ready" is for the benchmark
)
if TUNED:
    app.conf.update(
        # With heartbeats a gevent worker waits 0.1 s for its second connection after each message
        # (celery.worker.loops.synloop): ten tasks a second.
        broker_heartbeat=0,
        # Celery keeps one result backend a thread, and under gevent a greenlet counts as one: each would open
        # connections and poll a reply queue of its own.
        result_backend_thread_safe=True,
        worker_disable_rate_limits=True,
    )
if SETUP == "safe":
    app.conf.update(
        broker_transport_options={"confirm_publish": True},
        result_persistent=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
    )
Amphora(app)


@app.task(name="echo")
def echo(value: str) -> str:
    return value


app.amphora.server.add_function(lambda value: value, name="echo")


@worker_ready.connect
def _announce(**_: object) -> None:
    print("ready", flush=True)
