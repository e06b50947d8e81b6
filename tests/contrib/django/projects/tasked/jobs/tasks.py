"""Tasks."""

import time
from pathlib import Path

from django.tasks import task


@task(takes_context=True)
def wait_for(context, path):
    """Say that the task is there, and wait for a file."""
    Path(path).with_suffix(f".attempt{context.attempt}").touch()
    while not Path(path).exists():
        time.sleep(0.01)
    return f"attempt {context.attempt}"
