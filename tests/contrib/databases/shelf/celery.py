"""The Celery application of the program."""

import os

from celery import Celery

from amphora.contrib.celery import Amphora
from tests.contrib.databases.shelf import work

app = Celery("shelf", broker=os.environ["SHELF_BROKER"], backend="rpc://")
app.conf.update(
    amphora_service_name=os.environ["SHELF_SERVICE"],
    task_default_queue=f"{os.environ['SHELF_SERVICE']}_tasks",
)
Amphora(app)


@app.amphora.server.add_function
def backend_pid(seconds: float = 0.0) -> int:
    """Use the database in a function."""
    return work.backend_pid(seconds)


@app.amphora.expose(name="task_backend_pid")
@app.task
def task_backend_pid(seconds: float = 0.0) -> int:
    """Use the database in a task that runs inline."""
    return backend_pid(seconds)
