"""The Celery worker, as `celery worker -P threads` starts it."""

from __future__ import annotations

import sys

from peers.celery.server import become_worker

if __name__ == "__main__":
    become_worker(sys.argv[1], application="peers.celery_threads.tasks", pool="threads")
