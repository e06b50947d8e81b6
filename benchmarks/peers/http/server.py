"""The HTTP service: a WSGI application in one gevent worker of gunicorn, which keeps connections open.

Several servers share the port (`SO_REUSEPORT`), so that the kernel spreads the connections over them.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any

from peers.http.address import HOST, port_beside

_CONCURRENCY = 1000


def echo(value: str) -> str:
    return value


FUNCTIONS: dict[str, Callable[..., object]] = {"echo": echo}


def application(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    """POST /NAME with the arguments as an object of JSON; the answer is the result."""
    function = FUNCTIONS.get(environ["PATH_INFO"].strip("/"))
    if function is None:
        start_response("404 Not Found", [("Content-Type", "application/json"), ("Content-Length", "2")])
        return [b"{}"]
    arguments = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
    body = json.dumps({"result": function(**arguments)}).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


def become_gunicorn(broker_url: str, application: str, *options: str) -> None:
    command = ["gunicorn", "-k", "gevent", "--workers", "1", "--worker-connections", str(_CONCURRENCY)]
    command += ["--keep-alive", "60", "--reuse-port", "--bind", f"{HOST}:{port_beside(broker_url)}"]
    command += ["--log-level", "error", "--no-control-socket", "--config", "python:peers.http.hooks", *options]
    os.execv(sys.executable, [sys.executable, "-m", *command, application])


if __name__ == "__main__":
    become_gunicorn(sys.argv[1], "peers.http.server:application")
