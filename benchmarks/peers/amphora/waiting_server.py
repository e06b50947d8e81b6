"""A server whose function waits, as one does that asks a database, or computes, and takes so long for each call."""

from gevent import monkey

monkey.patch_all()

import sys
import time

import gevent

from amphora import AmqpRpcServer
from peers.amphora.server import SERVICE
from peers.amphora.serving import serve


def main(broker_url: str, concurrency: int, delay: float, kind: str = "wait") -> None:
    server = AmqpRpcServer(SERVICE, broker_url=broker_url, concurrency=concurrency)

    @server.add_function
    def echo(value: str) -> str:
        if kind == "wait":
            gevent.sleep(delay)
        else:
            until = time.thread_time() + delay
            while time.thread_time() < until:
                continue
        return value

    serve(server)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), *sys.argv[4:])
