"""The demonstration: servers and clients talk to each other, and one sees what happens. `make demo` runs it.

They share this process and its own `memory://` broker; BROKER_URL=amqp://... takes a real one.
"""

from gevent import monkey

monkey.patch_all()

import logging
import os
import sys
import time

import gevent
from gevent.queue import Queue

import amphora
from amphora import (
    AmqpRpcClient,
    AmqpRpcException,
    AmqpRpcFanoutClient,
    AmqpRpcFanoutServer,
    AmqpRpcServer,
    RemoteException,
)

BROKER_URL = os.environ.get("BROKER_URL") or "memory://"
#: Seconds to wait for the broker, and for any one result.
PATIENCE = 5


def main() -> int:
    """Run everything, and return the exit status."""
    # Amphora logs; where to is the program's affair.
    logging.basicConfig(level=logging.WARNING, format="   log: %(message)s")
    if BROKER_URL == "memory://":
        print(
            f"Amphora {amphora.__version__}, on the broker inside this process (BROKER_URL=amqp://... for a real one)"
        )
    else:
        print(f"Amphora {amphora.__version__}, on the broker of BROKER_URL")
    try:
        if not broker_answers():
            return explain(f"no broker answered within {PATIENCE} s")
        calls()
        one_users_queue()
        broadcast()
    except (AmqpRpcException, ValueError) as error:
        return explain(f"{type(error).__name__}: {error}")
    print("\nAll done. The programs in examples/ do the same in processes of their own.")
    return 0


def broker_answers() -> bool:
    """Whether the broker lets us in, in time."""
    with AmqpRpcClient("demo", broker_url=BROKER_URL) as client:
        return client.wait_connected(timeout=PATIENCE)


def calls() -> None:
    """One server, one client: calls, deferred calls, exceptions."""
    server = AmqpRpcServer("demo", broker_url=BROKER_URL)

    @server.add_function
    def add(x, y):
        return x + y

    @server.add_function
    def divide(x, y):
        return x / y

    @server.add_function
    def slow_square(x):
        gevent.sleep(0.3)
        return x * x

    with server, AmqpRpcClient("demo", timeout=PATIENCE, broker_url=BROKER_URL) as client:
        heading("A call waits for its result")
        show("client.call.add(2, 3)", client.call.add(2, 3))
        show('client.call.add("amp", "hora")', repr(client.call.add("amp", "hora")))

        heading("Deferred calls run at the same time")
        began = time.monotonic()
        results = [client.defer.slow_square(number) for number in range(1, 6)]
        show("results = [client.defer.slow_square(n) for n in range(1, 6)]", "sent")
        show("[result.get() for result in results]", [result.get() for result in results])
        note(f"five calls of 0.3 s each took {time.monotonic() - began:.2f} s together")

        heading("An exception of the remote function reaches the caller")
        try:
            client.call.divide(1, 0)
        except RemoteException as error:
            show("client.call.divide(1, 0)", f"RemoteException: {error}")


def one_users_queue() -> None:
    """Two servers, and a request for the one of them that a certain user is connected to."""

    def api_server(name):
        server = AmqpRpcServer("demo_messages", broker_url=BROKER_URL)

        @server.add_function
        def show_message(text):
            return f"{name} showed {text!r}"

        return server

    heading("A request goes to the server that takes from one user's queue")
    note("servers 1 and 2 are up; Alice is connected to server 2")
    with (
        api_server("server 1"),
        api_server("server 2") as server_2,
        AmqpRpcClient("demo_messages", timeout=PATIENCE, broker_url=BROKER_URL) as client,
    ):
        client.create_new_request_queue("alice")
        show('client.create_new_request_queue("alice")', "created")
        alice = gevent.spawn(server_2.receive_from_queue, "alice", max_calls=1, timeout=PATIENCE)
        show('server_2.receive_from_queue("alice", max_calls=1)', "waiting")
        show(
            'client.call(routing_key="alice").show_message("Hi!")', client.call(routing_key="alice").show_message("Hi!")
        )
        alice.get()
        client.remove_request_queue("alice")


def broadcast() -> None:
    """Three servers that all get one request."""
    shown = Queue()

    def screen(name):
        server = AmqpRpcFanoutServer("demo_news", broker_url=BROKER_URL)

        @server.add_function
        def announce(text):
            shown.put(f"{name} showed {text!r}")

        return server

    heading("A broadcast reaches every server")
    with (
        screen("screen 1") as screen_1,
        screen("screen 2") as screen_2,
        screen("screen 3") as screen_3,
        AmqpRpcFanoutClient("demo_news", timeout=PATIENCE, broker_url=BROKER_URL) as client,
    ):
        for server in (screen_1, screen_2, screen_3):
            server.wait_connected(timeout=PATIENCE)
        client.defer.announce("Lunch!")
        code = 'client.defer.announce("Lunch!")'
        for line in sorted(shown.get(timeout=PATIENCE) for _ in range(3)):
            show(code, line)
            code = ""


def heading(text: str) -> None:
    print(f"\n{text}")


def show(code: str, outcome: object) -> None:
    """Print what was done, and what came of it."""
    print(f"   {code:<62}{outcome}")


def note(text: str) -> None:
    print(f"   ({text})")


def explain(trouble: str) -> int:
    """Say what went wrong and what to do; return the exit status."""
    print(f"\nThe demo ended early: {trouble}", file=sys.stderr)
    print(
        "Is RabbitMQ running, and is BROKER_URL right (amqp://user:password@host:port/vhost)?\n"
        "Without BROKER_URL the demo needs no broker: make demo",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
