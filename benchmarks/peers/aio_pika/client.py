"""The client with aio-pika's RPC pattern, called from many tasks."""

from __future__ import annotations

from typing import cast

import aio_pika
from aio_pika.patterns.rpc import JsonRPC

from peers.aio_pika.server import FUNCTION
from peers.async_driver import run_client


class AioPikaCaller:
    """Calls `echo` with the RPC pattern; sends the same message without it."""

    def __init__(self, channel: aio_pika.abc.AbstractChannel, rpc: JsonRPC, close: aio_pika.abc.AbstractConnection):
        self._channel = channel
        self._rpc = rpc
        self._connection = close

    @classmethod
    async def connect(cls, broker_url: str) -> AioPikaCaller:
        connection = await aio_pika.connect(broker_url.removesuffix("/") + "%2F")
        channel = await connection.channel(publisher_confirms=True)
        return cls(channel, await JsonRPC.create(channel), connection)

    async def call(self, payload: str) -> str:
        reply = await self._rpc.call(FUNCTION, {"value": payload}, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        return cast(str, reply)

    async def send(self, payload: str) -> None:
        message = aio_pika.Message(
            self._rpc.serialize({"value": payload}),
            content_type="application/json",
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        )
        await self._channel.default_exchange.publish(message, FUNCTION)

    async def close(self) -> None:
        await self._connection.close()


if __name__ == "__main__":
    run_client(
        AioPikaCaller.connect,
        packages=["aio-pika", "aiormq"],
        guarantees="persistent; both ways confirmed (pipelined) and requests mandatory; request acknowledged after "
        "its confirmed reply; replies are not acknowledged, and their queue goes with the client's connection",
        request_queue=FUNCTION,
    )
