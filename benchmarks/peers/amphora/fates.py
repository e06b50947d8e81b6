"""Amphora's part in `fates.py`."""

from gevent import monkey

monkey.patch_all()

import signal
import time

import gevent

from amphora import AmqpRpcClient, AmqpRpcServer
from peers import fates

_SERVICE = "fates_amphora"


def serve(broker_url: str) -> None:
    server = AmqpRpcServer(_SERVICE, broker_url=broker_url, concurrency=fates.CONCURRENCY)

    @server.add_function
    def work(number: str) -> str:
        fates.note_run(number)
        time.sleep(fates.WORK_SECONDS)
        return number

    def stop() -> None:
        server.prepare_stop(timeout=30)
        server.stop()

    gevent.signal_handler(signal.SIGTERM, stop)
    server.serve()
    server.wait_connected(30)
    print("ready", flush=True)
    server.serve(nowait=False)


if __name__ == "__main__":
    role, url, seconds = fates.arguments()
    if role == "serve":
        serve(url)
    else:
        client = AmqpRpcClient(_SERVICE, broker_url=url, timeout=fates.TIMEOUT)
        fates.call_in_threads(lambda: client.call.work, seconds)
