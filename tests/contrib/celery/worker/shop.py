"""The Celery application of the workers: a task and functions that note their runs.

The environment says SHOP_BROKER (a URL), SHOP_SERVICE (its name) and SHOP_RUNS (a file for the notes).
"""

import os
from pathlib import Path

import gevent
from celery import Celery
from gevent.event import Event

from amphora.contrib.celery import Amphora

app = Celery("shop", broker=os.environ["SHOP_BROKER"], backend="rpc://")
app.conf.update(
    amphora_service_name=os.environ["SHOP_SERVICE"],
    broker_connection_retry_on_startup=True,
    # Tests share a broker: each application has a queue of its own.
    task_default_queue=f"{os.environ['SHOP_SERVICE']}_tasks",
)
Amphora(app)
server = app.amphora.server

_crowd, _met = 0, Event()


def _note(what: str, number: int) -> None:
    # One write of a line to a file opened for appending is whole, also when the process is killed after it.
    file = os.open(os.environ["SHOP_RUNS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{what} {number} {os.getpid()}\n".encode())
    os.close(file)


@server.add_function
def work(number: int, seconds: float = 0.005) -> int:
    """Work for a while."""
    _note("begin", number)
    gevent.sleep(seconds)
    _note("end", number)
    return number


@server.add_function
def work_until(number: int, path: str) -> int:
    """Work until a file is there."""
    _note("begin", number)
    while not Path(path).exists():
        gevent.sleep(0.01)
    _note("end", number)
    return number


@server.add_function
def meet(size: int) -> int:
    """Return when so many calls of this function and tasks of its name are under way at once."""
    global _crowd
    _crowd += 1
    if _crowd == size:
        _met.set()
    _met.wait()
    return size


@server.add_function
def fail() -> None:
    """Raise."""
    raise ValueError("as it was asked to")


@app.task(name="shop.double")
def double(number: int) -> int:
    """Do what tasks do."""
    return 2 * number


app.task(meet, name="shop.meet")
