"""The Amphora client: `client.call` and `client.cast` from many greenlets."""

from gevent import monkey

monkey.patch_all()

from functools import partial
from typing import cast

from amphora import AmqpRpcClient
from peers.amphora.queue_types import queue_type, service_of
from peers.driver import run_client

SERVICE = "bench_amphora"


class AmphoraCaller:
    """Calls `echo` of the service."""

    def __init__(self, broker_url: str, service: str) -> None:
        self._client = AmqpRpcClient(service, broker_url=broker_url, queue_type=queue_type())

    def call(self, payload: str) -> str:
        return cast(str, self._client.call.echo(payload))

    def send(self, payload: str) -> None:
        self._client.cast.echo(payload)  # returns when the broker has confirmed the request

    def close(self) -> None:
        self._client.stop()


def main(*further_packages: str, service: str = SERVICE) -> None:
    service = service_of(service)
    run_client(
        partial(AmphoraCaller, service=service),
        packages=["amphora", "kombu", "amqp", "gevent", *further_packages],
        guarantees="persistent; both ways confirmed (pipelined) and mandatory; request acknowledged after its "
        "confirmed reply, reply acknowledged; what is not confirmed is sent again after a reconnect; heartbeats",
        request_queue=f"rpc_{service}_request",
    )


if __name__ == "__main__":
    main()
