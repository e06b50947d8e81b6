"""Celery's application again, with a queue of its own."""

from __future__ import annotations

from peers.celery.tasks import app

REQUEST_QUEUE = "bench_celery_threads"

app.conf.task_default_queue = REQUEST_QUEUE
