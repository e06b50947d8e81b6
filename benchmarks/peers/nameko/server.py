"""The nameko service, in its container."""

import eventlet

eventlet.monkey_patch()

import sys

from nameko.containers import ServiceContainer
from nameko.rpc import rpc

SERVICE = "bench_nameko"
_CONCURRENCY = 100


class Bench:
    name = SERVICE

    @rpc
    def echo(self, value: str) -> str:
        return value


def serve(broker_url: str) -> None:
    container = ServiceContainer(
        Bench, config={"AMQP_URI": broker_url, "max_workers": _CONCURRENCY, "prefetch_count": _CONCURRENCY}
    )
    container.start()
    print("ready", flush=True)
    container.wait()


if __name__ == "__main__":
    serve(sys.argv[1])
