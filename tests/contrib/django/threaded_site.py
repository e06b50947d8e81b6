"""A program that gevent has not patched: threads answer requests, in it and in a process that it forks.

The settings come from the environment, and so does whether clients may live in threads.
"""

import os
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import django

django.setup()

from django.db import transaction  # noqa: E402
from django.test import Client  # noqa: E402

from amphora.contrib.django import client  # noqa: E402


def answer(number: int) -> int:
    """Answer a request in a thread."""
    return int(Client().get(f"/orders/{number}/total").json()["total"])


def totals() -> list[int]:
    """Answer twenty requests in four threads."""
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(answer, range(20)))


print(type(client.real).__name__, totals() == [10 * number for number in range(20)])
print(client.defer.add(1, 2).get(timeout=30), client.service_name, client.connected)
sys.stdout.flush()
# Python 3.12 and newer warn of what is tried here.
warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
pid = os.fork()
if pid == 0:
    print("worker", client.made, totals() == [10 * number for number in range(20)], flush=True)
    sys.exit(0)
print("worker ended with", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
print("parent", totals() == [10 * number for number in range(20)], client.stats()["reconnects"])
with transaction.atomic():
    client.defer_on_commit(wait_publish=False).add(1, 2)
