"""The Celery application that server and client share: the echo and every setting."""

from __future__ import annotations

from celery import Celery
from celery.signals import worker_ready

REQUEST_QUEUE = "bench_celery"

app = Celery("bench", backend="rpc://")
app.conf.update(
    task_default_queue=REQUEST_QUEUE,
    task_serializer="json",
    result_serializer="json",
    accept_content=["json"],
    # Guarantees, as near to the other peers' as Celery has them.
    task_default_delivery_mode="persistent",
    result_persistent=True,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    broker_transport_options={"confirm_publish": True},
    # With heartbeats a gevent worker waits 0.1 s for its second connection after each message
    # (celery.worker.loops.synloop): 10 calls per second.
    broker_heartbeat=0,
    # Celery keeps one result backend a thread, and under gevent a greenlet counts as one: each would open
    # connections and poll a reply queue of its own, which is slow and sometimes waits for ever.
    result_backend_thread_safe=True,
    worker_prefetch_multiplier=1,  # for each of the pool's 100 places
    worker_disable_rate_limits=True,
    worker_enable_remote_control=False,
    worker_redirect_stdouts=False,  # "ready" is for the benchmark
)


@app.task(name="echo")
def echo(value: str) -> str:
    return value


@worker_ready.connect
def _announce(**_: object) -> None:
    print("ready", flush=True)
