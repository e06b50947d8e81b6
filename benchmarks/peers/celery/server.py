"""The Celery worker, as `celery worker -P gevent` starts it."""

from __future__ import annotations

import os
import sys

_CONCURRENCY = 100


def become_worker(broker_url: str, *, application: str, pool: str) -> None:
    command = ["celery", "-q", "-b", broker_url, "-A", application, "worker"]
    command += ["-P", pool, "-c", str(_CONCURRENCY), "-l", "error"]
    command += ["--without-heartbeat", "--without-gossip", "--without-mingle"]
    os.execv(sys.executable, [sys.executable, "-m", *command])


if __name__ == "__main__":
    become_worker(sys.argv[1], application="peers.celery.tasks", pool="gevent")
