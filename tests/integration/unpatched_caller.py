"""A program that gevent has not patched and that calls through a `ThreadedClient`; it prints what it saw as JSON.

Run with: broker URL, the URL of a proxy before it, service, which has the functions of test_bridge.py.
"""

from __future__ import annotations

import contextvars
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from amphora import AmqpRpcException, RemoteException, ThreadedClient, call_deadline, current_request, make_client

URL, PROXY_URL, SERVICE = sys.argv[1:]

#: Seconds for whatever a busy machine may be slow at.
PATIENCE = 60.0


class Dotted(Protocol):
    def name(self, value: int, other: int) -> list[int]: ...


def main() -> None:
    """Try everything, and print it."""
    client = ThreadedClient(SERVICE, broker_url=URL, timeout=PATIENCE, uuid=f"{SERVICE}-caller")
    seen = {
        "calls": calls(client),
        "deferred": deferred(client),
        "threads": threads(client),
        "signal": a_signal_ends_waiting(client),
        "deadline": a_deadline_ends_waiting(client),
        "middleware": middleware(client),
        "labels": labels(client),
        "fork": fork(client),
        "stop": stop(client),
        "cut": cut(),
        "mistakes": mistakes(),
        "inspected": [len(client.inspect.ping(timeout=PATIENCE, limit=1)), client.bind(Bound).echo("bound")],
    }
    print(json.dumps(seen), flush=True)
    # Nobody waits for this one, and nobody stops the client: it is sent before the program ends.
    client.defer(wait_publish=False).note("last words")


class Bound(Protocol):
    """Some functions of the service."""

    def echo(self, value: str) -> str: ...


def outcome(function: Callable[[], Any]) -> Any:
    """Return what a function returns, or type and text of what it raises."""
    try:
        return function()
    except Exception as error:  # noqa: BLE001  (the tests look at it)
        return [type(error).__name__, str(error)]


def calls(client: ThreadedClient) -> dict[str, Any]:
    raised = None
    try:
        client.call.fail("no")
    except RemoteException as error:
        raised = [error.error_type, list(error.args)]
    return {
        "echo": client.call.echo([1, "two", None]),
        "dotted": client.call.dotted.name(1, other=2),
        "exception": raised,
        "not encodable": outcome(lambda: client.call.echo(object())),
        "unknown option": outcome(lambda: client.call(timeot=1)),
        "connected": client.connected,
        "counted": client.stats()["calls"],
        "no such method": outcome(lambda: client.no_such_method),
        "name": client.service_name,
        "bound": client.bind(Dotted, prefix="dotted").name(3, other=4),
        "servers": [each.concurrency for each in client.inspect.ping(PATIENCE, limit=1)],
        "ready": client.health().ready,
    }


def deferred(client: ThreadedClient) -> dict[str, Any]:
    result = client.defer.hold("deferred")
    done = threading.Event()
    before = {
        "ready": result.ready(),
        "successful": result.successful(),
        "value": result.value,
        "get": outcome(lambda: result.get(timeout=0.01)),
        "not blocking": outcome(lambda: result.get(block=False)),
        "wait": result.wait(timeout=0.01),
        "repr": repr(result),
    }
    client.call.release("deferred")
    result.add_done_callback(lambda _: done.set())
    value = result.get(timeout=PATIENCE)
    failed = client.defer.fail("later")
    failed.wait(PATIENCE)
    return {
        "before": before,
        "get": value,
        "told": done.wait(PATIENCE),
        "after": [result.ready(), result.successful(), result.value, result.exception, repr(result)],
        "failed": [failed.successful(), type(failed.exception).__name__, outcome(failed.get)],
        "not encodable": outcome(lambda: client.defer(wait_publish=False).echo(object())),
        "many": sum(each.get(timeout=PATIENCE) for each in [client.defer.echo(i) for i in range(200)]),
    }


def threads(client: ThreadedClient) -> int:
    """Call from several threads at once, and count the right answers."""
    right = []

    def call(thread: int) -> None:
        right.extend(i for i in range(25) if client.call.echo([thread, i]) == [thread, i])

    started = [threading.Thread(target=call, args=(each,)) for each in range(8)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join(PATIENCE)
    return len(right)


class Alarm(Exception):
    """What the handler of a signal raises."""


def a_signal_ends_waiting(client: ThreadedClient) -> dict[str, Any]:
    def handle(*_: object) -> None:
        raise Alarm

    before = client.stats()["pending"]

    def send_signal() -> None:
        wait_for_pending(client, before + 1)
        os.kill(os.getpid(), signal.SIGALRM)

    signal.signal(signal.SIGALRM, handle)
    sender = threading.Thread(target=send_signal)
    sender.start()
    raised = outcome(lambda: client.call.hold("signal"))
    sender.join(PATIENCE)
    wait_for_pending(client, before)
    pending = client.stats()["pending"] - before
    client.call.release("signal")
    return {"raised": raised[0], "pending": pending, "next": client.call.echo("next")}


def wait_for_pending(client: ThreadedClient, count: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while client.stats()["pending"] != count and time.monotonic() < deadline:
        time.sleep(0.01)


def a_deadline_ends_waiting(client: ThreadedClient) -> Any:
    with call_deadline(time.time() + 0.3):
        raised = outcome(lambda: client.call.hold("deadline"))
    client.call.release("deadline")
    return raised[0]


VARIABLE = contextvars.ContextVar("VARIABLE", default="nothing")


def middleware(client: ThreadedClient) -> dict[str, Any]:
    @client.add_middleware
    def tell(request: Any, send: Any) -> Any:
        request.headers["x-variable"] = VARIABLE.get()
        # What runs in the client's thread may ask the client too.
        request.headers["x-broker"] = client.current_broker
        return send()

    @client.tune_function("tuned")
    def no_such_queue(args: Any, kwargs: Any) -> str:
        return "nowhere"

    VARIABLE.set("of the caller")
    headers = client.call.headers()
    return {"headers": headers["x-variable"], "broker": headers["x-broker"], "tuned": outcome(client.call.tuned)[0]}


def labels(client: ThreadedClient) -> Any:
    label = f"{SERVICE}_label"
    client.create_new_request_queue(label)
    client.defer(routing_key=label).echo(1)
    messages = [status.messages for status in client.queue_status(label).values() if status is not None]
    client.remove_request_queue(label)
    return [messages, list(client.queue_status(label).values())]


def fork(client: ThreadedClient) -> dict[str, Any]:
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        # The middleware is there too.
        told = {"uuid": client.uuid, "headers": client.call.headers()["x-variable"], "echo": client.call.echo("child")}
        client.stop()
        os.write(writer, json.dumps(told).encode())
        os._exit(0)
    os.waitpid(child, 0)
    told = json.loads(os.read(reader, 10_000))
    return {"child": told, "same": told["uuid"] == client.uuid, "parent": client.call.echo("parent")}


def stop(client: ThreadedClient) -> dict[str, Any]:
    raised = []
    before = client.stats()["pending"]
    waiting = threading.Thread(target=lambda: raised.append(outcome(lambda: client.call(timeout=None).hold("stop"))))
    waiting.start()
    wait_for_pending(client, before + 1)
    names = [thread.name for thread in threading.enumerate()]
    client.stop()
    waiting.join(PATIENCE)
    client.stop()
    left = threading.active_count()
    answer = client.call.release("stop")
    return {"raised": raised[0][0], "thread": f"amphora {SERVICE} client" in names, "left": left, "again": answer}


def cut() -> Any:
    """Call a function that breaks our connections before it answers."""
    with ThreadedClient(SERVICE, broker_url=PROXY_URL, timeout=PATIENCE) as client:
        client.wait_connected(PATIENCE)
        return [client.call.cut(), client.stats()["reconnects"] > 0]


def mistakes() -> dict[str, Any]:
    made = make_client(SERVICE, broker_url=URL)
    made.stop()
    return {
        "url": outcome(lambda: ThreadedClient(SERVICE, broker_url="http://localhost")),
        "option": outcome(lambda: ThreadedClient(SERVICE, timeot=3))[0],
        "unroutable": outcome(lambda: ThreadedClient(f"{SERVICE}_fanout", fanout=True, broker_url=URL).call.f())[0],
        "request": current_request(),
        "made": type(made).__name__,
        "errors": issubclass(RemoteException, AmqpRpcException),
    }


if __name__ == "__main__":
    main()
