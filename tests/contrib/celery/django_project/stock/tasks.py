"""Tasks, and functions that are added through the Celery application."""

from typing import Any

from celery import current_app, shared_task
from store.celery import app

from amphora.contrib.django import client


@app.amphora.server.add_function
def count(item: str) -> int:
    """Say how many there are."""
    return len(item)


@shared_task(amphora={"name": "total"})
def total(items: list[str]) -> int:
    """Count all, through calls of Django's own client."""
    return sum(client.call.count(item) for item in items)


@shared_task(bind=True)
def report(self: Any, items: list[str]) -> dict[str, Any]:
    """Call in both ways, in a worker."""
    return {
        "same": current_app.amphora.client is client,
        "client": type(client.real).__name__,
        "total": client.call.total(items),
        "caller": client.call.headers()["celery_parent_id"] == self.request.id,
    }


@app.amphora.server.add_function
def order(item: str) -> list[str]:
    """Have an item packed and labelled, by tasks."""
    return [pack.delay(item).id, label.delay(item).id]


@shared_task
def pack(item: str) -> int:
    """Call from a worker."""
    return client.call.count(item)


@shared_task
def label(item: str) -> int:
    """Call from a worker of another kind."""
    return client.call.count(item)
