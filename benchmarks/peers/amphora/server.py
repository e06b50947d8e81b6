"""The Amphora server, as a program of its own would start it."""

from gevent import monkey

monkey.patch_all()

import sys

from amphora import AmqpRpcServer

SERVICE = "bench_amphora"


def main(broker_url: str, service: str = SERVICE) -> None:
    server = AmqpRpcServer(service, broker_url=broker_url)

    @server.add_function
    def echo(value: str) -> str:
        return value

    server.serve()
    if not server.wait_connected(30):
        raise TimeoutError("no connection to the broker in 30 s")
    print("ready", flush=True)
    server.serve(nowait=False)


if __name__ == "__main__":
    main(sys.argv[1])
