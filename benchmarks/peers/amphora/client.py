"""The Amphora client: `client.call` and `client.defer` from many greenlets."""

from gevent import monkey

monkey.patch_all()

from typing import cast

from amphora import AmqpRpcClient
from peers.driver import run_client

SERVICE = "bench_amphora"


class AmphoraCaller:
    """Calls `echo` of the service."""

    def __init__(self, broker_url: str) -> None:
        self._client = AmqpRpcClient(SERVICE, broker_url=broker_url)

    def call(self, payload: str) -> str:
        return cast(str, self._client.call.echo(payload))

    def send(self, payload: str) -> None:
        self._client.defer.echo(payload)  # returns when the broker has confirmed the request

    def close(self) -> None:
        self._client.stop()


if __name__ == "__main__":
    run_client(
        AmphoraCaller,
        packages=["amphora", "kombu", "amqp", "gevent"],
        guarantees="persistent; both ways confirmed (pipelined) and mandatory; request acknowledged after its "
        "confirmed reply, reply acknowledged; what is not confirmed is sent again after a reconnect; heartbeats",
        request_queue=f"rpc_{SERVICE}_request",
    )
