"""A program that exits while its client may have unconfirmed requests: KIND URL SERVICE EXIT_TIMEOUT ACTION.

KIND is `plain` (an `AmqpRpcClient` in a patched program), `threaded` (a `ThreadedClient`), `django` or `celery`
(stand-ins in patched programs), `django-threaded` or `celery-threaded`. It writes `exits` when its code is at its end,
and `waits` once the exit waits for requests.
"""

import sys
from typing import Any

# ruff: noqa: PLC0415

KIND, URL, SERVICE, EXIT_TIMEOUT, ACTION = sys.argv[1:]
PATCHED = KIND in ("plain", "django", "celery")

if PATCHED:
    from gevent import monkey

    monkey.patch_all()

import gc  # noqa: E402
import multiprocessing  # noqa: E402
import os  # noqa: E402
import signal  # noqa: E402
import threading  # noqa: E402
import time  # noqa: E402

import gevent  # noqa: E402
from gevent.monkey import get_original  # noqa: E402
from greenlet import getcurrent  # noqa: E402

#: How many requests are deferred, of two functions.
ADDS, MULS = 3, 1


def make_client() -> Any:
    """Make the client, or what stands for one."""
    options: dict[str, Any] = {"broker_url": URL, "exit_timeout": float(EXIT_TIMEOUT)}
    if KIND == "plain":
        from amphora import AmqpRpcClient

        return AmqpRpcClient(SERVICE, **options)
    if KIND == "threaded":
        from amphora import ThreadedClient

        return ThreadedClient(SERVICE, **options)
    if KIND.startswith("django"):
        from django.conf import settings

        named = {name.upper(): value for name, value in options.items()}
        alias = {"SERVICE_NAME": SERVICE, "THREADED": not PATCHED, **named}
        settings.configure(INSTALLED_APPS=["amphora.contrib.django"], AMPHORA={"default": alias})
        import django

        django.setup()
        from amphora.contrib.django import client

        return client
    from celery import Celery

    from amphora.contrib.celery import Amphora

    app = Celery("exiting", broker="memory://")
    app.conf.update(amphora_service_name=SERVICE, **{f"amphora_{name}": value for name, value in options.items()})
    return Amphora(app).client


def defer(client: Any) -> None:
    """Defer requests of two functions, without waiting for the broker."""
    for number in range(ADDS):
        client.defer(wait_publish=False).add(number, 1)
    for number in range(MULS):
        client.defer(wait_publish=False).mul(number, 2)


def say_when_the_exit_waits() -> None:
    """Write a line once the main thread, or the main greenlet, waits in `amphora.endpoint.at_exit.leave`."""
    main, this_thread = getcurrent(), get_original("threading", "get_ident")()

    def watch() -> None:
        while True:
            frame = main.gr_frame if PATCHED else sys._current_frames().get(this_thread)
            while frame is not None:
                if frame.f_code.co_name == "leave":
                    os.write(1, b"waits\n")
                    return
                frame = frame.f_back
            time.sleep(0.05)

    # In a greenlet, what a signal's handler raises reaches the main one.
    gevent.spawn(watch) if PATCHED else threading.Thread(target=watch, daemon=True).start()


def in_child() -> None:
    """Use a client of a child's own, that `multiprocessing` has started."""
    defer(make_client())


def serve_until_signal(client: Any) -> None:
    """Serve a function that defers, until SIGTERM or Ctrl-C."""
    from amphora import AmqpRpcClient, AmqpRpcServer, run_servers

    server = AmqpRpcServer("own", broker_url="memory://")
    server.add_function(lambda: defer(client), "defer")
    server.serve()
    AmqpRpcClient("own", broker_url="memory://").call.defer()
    gevent.spawn(say_when_signals_are_handled)
    run_servers(server)


def say_when_signals_are_handled() -> None:
    """Write a line once a SIGTERM does not end the process at once any more."""
    while signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        gevent.sleep(0.01)
    print("serves", flush=True)


def main() -> None:
    """Do what ACTION says."""
    if ACTION == "multiprocessing":
        child = multiprocessing.get_context("fork").Process(target=in_child)
        child.start()
        child.join()
        return
    client = make_client()
    if ACTION == "idle":
        client.wait_connected(20)
        return
    if ACTION == "serve":
        serve_until_signal(client)
        return
    defer(client)
    if ACTION == "fork":
        pid = os.fork()
        if pid == 0:
            sys.exit(0)
        print(f"child ended with {os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}", flush=True)
    elif ACTION == "stop":
        client.stop()
    elif ACTION == "drop":
        client.stop()
        del client
        gc.collect()
        print("dropped", flush=True)
    elif ACTION == "exit":
        sys.exit(3)
    elif ACTION == "raise":
        raise SystemError("a fault of the program")
    elif ACTION == "sigterm":
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))


if ACTION in ("interrupt", "sigterm"):
    say_when_the_exit_waits()
try:
    main()
finally:
    print("exits", flush=True)
