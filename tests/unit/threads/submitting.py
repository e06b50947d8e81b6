"""A program that gevent has not patched: what becomes of the futures of `HubThread.submit`, printed as JSON."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from typing import Any

import gevent

from amphora.client.client import AmqpRpcClient
from amphora.threads.hub_thread import HubThread

#: Seconds for whatever a busy machine may be slow at.
PATIENCE = 30.0


def main() -> None:
    seen = {
        each.__name__: each()
        for each in (results, cancelled_waiting, cancelled_running, stopped, blocked, submitted_late, forked)
    }
    print(json.dumps(seen), flush=True)
    left_at_exit()


def new_hub() -> HubThread:
    return HubThread(lambda: AmqpRpcClient("submitting", broker_url="memory://"), "hub")


def outcome(future: Future[Any]) -> Any:
    """Return what a future gives, or the type and the text of what it raises."""
    try:
        return future.result(PATIENCE)
    except (Exception, CancelledError) as error:  # noqa: BLE001  (whatever it is)
        return [type(error).__name__, str(error)]


def until(told: threading.Event) -> Callable[[Any], None]:
    """Return a function that runs until it is interrupted, and says when it begins."""

    def run(_: Any) -> None:
        told.set()
        gevent.sleep(1000)

    return run


def results() -> Any:
    hub = new_hub()
    futures = [hub.submit(lambda client: client.service_name), hub.submit(lambda _: {}["no"])]
    found = [outcome(each) for each in futures]
    # One whose function runs on does not hold up the others.
    told = threading.Event()
    endless = hub.submit(until(told))
    first = wait([endless, hub.submit(lambda _: "quick")], PATIENCE, FIRST_COMPLETED).done.pop()
    hub.stop()
    return [*found, outcome(first)]


def cancelled_waiting() -> Any:
    hub = new_hub()
    told, go_on = threading.Event(), threading.Event()

    def block(_: Any) -> None:
        told.set()
        go_on.wait(PATIENCE)

    blocking = hub.submit(block)
    told.wait(PATIENCE)
    ran: list[int] = []
    future = hub.submit(lambda _: ran.append(1))
    answers = [future.cancel(), future.cancel(), future.cancelled()]
    go_on.set()
    outcome(blocking)
    outcome(hub.submit(lambda _: None))
    hub.stop()
    return [answers, outcome(future)[0], ran]


def cancelled_running() -> Any:
    hub = new_hub()
    told, ended = threading.Event(), threading.Event()

    def run(_: Any) -> None:
        try:
            until(told)(_)
        finally:
            ended.set()

    future = hub.submit(run)
    told.wait(PATIENCE)
    answers = [future.cancel(), ended.wait(PATIENCE)]
    done = hub.submit(lambda _: "done")
    found = outcome(done)
    answers.append(done.cancel())
    hub.stop()
    return [answers, outcome(future)[0], found, wait([future], PATIENCE).not_done == set()]


def stopped() -> Any:
    hub = new_hub()
    told = threading.Event()
    futures = [hub.submit(until(told)) for _ in range(3)]
    told.wait(PATIENCE)
    threading.Thread(target=hub.stop).start()
    return [outcome(each) for each in futures]


def blocked() -> Any:
    """Something blocks the hub for longer than a stop waits."""
    hub = new_hub()
    told, go_on = threading.Event(), threading.Event()

    def block(_: Any) -> None:
        told.set()
        go_on.wait(PATIENCE)

    futures = [hub.submit(block), hub.submit(lambda _: None)]
    told.wait(PATIENCE)
    hub._farewell = 0.1
    hub.stop()
    found = [outcome(each)[0] for each in futures]
    go_on.set()
    return found


def submitted_late() -> Any:
    hub = new_hub()
    hub.stop()
    return outcome(hub.submit(lambda _: None))


def forked() -> Any:
    hub = new_hub()
    told = threading.Event()
    future = hub.submit(until(told))
    told.wait(PATIENCE)
    reader, writer = os.pipe()
    # As if another thread were in the middle of something at the fork.
    held = [hub._lock, future._condition]
    for each in held:
        each.acquire()
    child = os.fork()
    if not child:
        os.write(writer, json.dumps([outcome(future), outcome(hub.submit(lambda _: None))[0]]).encode())
        os._exit(0)
    for each in held:
        each.release()
    os.waitpid(child, 0)
    in_child = json.loads(os.read(reader, 10_000))
    mine = [future.done(), outcome(hub.submit(lambda _: "parent"))]
    hub.stop()
    return [in_child, mine]


def left_at_exit() -> None:
    """Leave a future that nothing completes: the program ends all the same."""
    hub = new_hub()
    told = threading.Event()
    future = hub.submit(until(told))
    told.wait(PATIENCE)
    future.add_done_callback(lambda _: None)


if __name__ == "__main__":
    sys.exit(main())
