"""The Celery client again, under gevent: only the worker's pool is another."""

from gevent import monkey

monkey.patch_all()

from peers.celery.client import GUARANTEES, PACKAGES, CeleryCaller
from peers.celery_threads.tasks import REQUEST_QUEUE
from peers.driver import run_client

if __name__ == "__main__":
    run_client(CeleryCaller, packages=PACKAGES, guarantees=GUARANTEES, request_queue=REQUEST_QUEUE)
