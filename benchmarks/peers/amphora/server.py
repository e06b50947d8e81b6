"""The Amphora server, as a program of its own would start it."""

from gevent import monkey

monkey.patch_all()

import sys

from amphora import AmqpRpcServer
from peers.amphora.queue_types import queue_type, service_of
from peers.amphora.serving import serve

SERVICE = "bench_amphora"


def main(broker_url: str, service: str = SERVICE) -> None:
    server = AmqpRpcServer(service_of(service), broker_url=broker_url, queue_type=queue_type())

    @server.add_function
    def echo(value: str) -> str:
        return value

    serve(server)


if __name__ == "__main__":
    main(sys.argv[1])
