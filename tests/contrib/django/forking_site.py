"""A program that forks as gunicorn and uWSGI do (pre-fork), after its parent has used Django's client.

The settings come from the environment. The children end in the usual way, with their `atexit` functions, the parent
calls before, while and after they run.
"""

from gevent import monkey

monkey.patch_all()

import os  # noqa: E402
import sys  # noqa: E402

import django  # noqa: E402

django.setup()

from amphora.contrib.django import client, clients, server  # noqa: E402


def work(number: int) -> None:
    """Answer a request, in a worker."""
    from django.test import Client  # noqa: PLC0415  (only the workers need it)

    assert not client.made
    page = Client().get(f"/orders/{number}/total")
    assert page.json() == {"order": number, "total": 10 * number}, page.content
    assert clients["default"] is client
    print(f"worker {number} had client {client.uuid}", flush=True)
    sys.exit(0)


with server:
    assert client.call.add(1, 2) == 3
    print(f"parent had client {client.uuid}", flush=True)
    workers = []
    for number in range(1, 4):
        pid = os.fork()
        if pid == 0:
            work(number)
        workers.append(pid)
        assert client.call.add(number, 2) == number + 2
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in workers]
    assert client.call.add(20, 2) == 22
    print(f"workers {codes}, parent still had client {client.uuid}")
    print(f"reconnects {client.stats()['reconnects'] + server.stats()['reconnects']}")
