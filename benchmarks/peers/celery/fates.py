"""Celery's part in `fates.py`: the settings are those of the benchmark, late acknowledgement included."""

from gevent import monkey

monkey.patch_all()

import time

from peers import fates
from peers.celery.server import become_worker
from peers.celery.tasks import app


@app.task(name="work")
def work(number: str) -> str:
    fates.note_run(number)
    time.sleep(fates.WORK_SECONDS)
    return number


def call(number: str) -> object:
    return work.apply_async((number,), reply_to=app.backend.oid).get(timeout=fates.TIMEOUT)


if __name__ == "__main__":
    role, url, seconds = fates.arguments()
    if role == "serve":
        become_worker(url, application="peers.celery.fates", pool="gevent")
    app.conf.broker_url = url
    from peers.celery.fates import work as registered  # not the one of __main__

    registered.apply_async(("first",), reply_to=app.backend.oid).get(timeout=fates.TIMEOUT)
    fates.call_in_threads(lambda: call, seconds)
