"""The client of FastStream, called from many tasks."""

from __future__ import annotations

from typing import cast

from faststream.rabbit import RabbitBroker

from peers.async_driver import run_client
from peers.faststream.server import QUEUE

_TIMEOUT = 60.0


class FastStreamCaller:
    """Calls the subscriber with `request`, and sends to it with `publish`."""

    def __init__(self, broker: RabbitBroker) -> None:
        self._broker = broker

    @classmethod
    async def connect(cls, broker_url: str) -> FastStreamCaller:
        broker = RabbitBroker(broker_url.removesuffix("/") + "%2F", logger=None)
        await broker.start()
        return cls(broker)

    async def call(self, payload: str) -> str:
        reply = await self._broker.request(payload, QUEUE, timeout=_TIMEOUT, persist=True)
        return cast(str, await reply.decode())

    async def send(self, payload: str) -> None:
        await self._broker.publish(payload, QUEUE, persist=True)

    async def close(self) -> None:
        await self._broker.stop()


if __name__ == "__main__":
    run_client(
        FastStreamCaller.connect,
        packages=["faststream", "aio-pika", "aiormq"],
        guarantees="requests persistent and confirmed, acknowledged after their reply was published; replies by direct "
        "reply-to: transient, not acknowledged, lost with the connection; one call in flight at a time",
        request_queue=QUEUE,
    )
