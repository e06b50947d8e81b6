"""oslo.messaging's part in `fates.py`."""

from __future__ import annotations

import signal
import threading
import time

import oslo_messaging

from peers import fates
from peers.oslo.transport import transport

_TOPIC = "fates_oslo"


class Endpoint:
    """Its methods are called with a context and keyword arguments."""

    def work(self, _context: object, number: str) -> str:
        fates.note_run(number)
        time.sleep(fates.WORK_SECONDS)
        return number


def serve(broker_url: str) -> None:
    target = oslo_messaging.Target(topic=_TOPIC, server="fates")
    server = oslo_messaging.get_rpc_server(transport(broker_url), target, [Endpoint()], executor="threading")
    server.conf.set_override("executor_thread_pool_size", fates.CONCURRENCY)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    server.start()
    print("ready", flush=True)
    while not stop.wait(0.2):
        continue
    server.stop()
    server.wait()


if __name__ == "__main__":
    role, url, seconds = fates.arguments()
    if role == "serve":
        serve(url)
    else:
        found = oslo_messaging.Target(topic=_TOPIC)
        client = oslo_messaging.get_rpc_client(transport(url), found, timeout=fates.TIMEOUT)
        fates.call_in_threads(lambda: lambda number: client.call({}, "work", number=number), seconds)
