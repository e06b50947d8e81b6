"""HTTP's part in `fates.py`."""

from __future__ import annotations

import time

import urllib3

from peers import fates
from peers.http.address import HOST, port_beside
from peers.http.server import FUNCTIONS, application, become_gunicorn


def work(number: str) -> str:
    fates.note_run(number)
    time.sleep(fates.WORK_SECONDS)
    return number


FUNCTIONS["work"] = work
__all__ = ["application"]


def call(pool: urllib3.HTTPConnectionPool, number: str) -> object:
    response = pool.request("POST", "/work", json={"number": number})
    if response.status != 200:
        raise RuntimeError(f"status {response.status}")
    return response.json()["result"]


if __name__ == "__main__":
    role, url, seconds = fates.arguments()
    if role == "serve":
        become_gunicorn(url, "peers.http.fates:application")
    # urllib3's own retries, as they are by default: three, but of a POST only where it was not sent.
    port = port_beside(url)
    shared = urllib3.HTTPConnectionPool(HOST, port, maxsize=fates.CALLERS, timeout=fates.TIMEOUT)
    fates.call_in_threads(lambda: lambda number: call(shared, number), seconds)
