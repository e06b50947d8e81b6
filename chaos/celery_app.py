"""The Celery application of `chaos.celery_restarts`: a function that notes its runs, and a task that does too.

The environment says AMPHORA_CHAOS_BROKER (a URL) and AMPHORA_CHAOS_NOTES (a directory for the notes).
"""

import os
from pathlib import Path

import gevent
from celery import Celery

from amphora.contrib.celery import Amphora
from chaos.notes import Notes

SERVICE = "chaos_celery"

app = Celery("chaos", broker=os.environ["AMPHORA_CHAOS_BROKER"], backend="rpc://")
app.conf.update(
    amphora_service_name=SERVICE,
    broker_connection_retry_on_startup=True,
    # Until a restart that takes longer than it should is over.
    broker_connection_max_retries=None,
)
Amphora(app)
_notes = Notes(Path(os.environ["AMPHORA_CHAOS_NOTES"]) / f"worker.{os.getpid()}.notes")


@app.amphora.server.add_function
def work(number: int) -> int:
    """Return the number after a moment."""
    _notes.add("begin", str(number))
    gevent.sleep(0.01)
    _notes.add("end", str(number))
    return number


@app.task(name="chaos.note")
def note(number: int) -> None:
    """Tell that tasks run."""
    _notes.add("task", str(number))
