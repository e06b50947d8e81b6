"""FastStream's part in `fates.py`."""

from __future__ import annotations

import asyncio
import signal

from faststream import AckPolicy
from faststream.rabbit import Channel, RabbitBroker, RabbitQueue

from peers import fates

_QUEUE = "fates_faststream"


def _broker(broker_url: str) -> RabbitBroker:
    return RabbitBroker(
        broker_url.removesuffix("/") + "%2F",
        default_channel=Channel(prefetch_count=fates.CONCURRENCY),
        logger=None,
        graceful_timeout=10,
        reconnect_interval=1,
    )


async def serve(broker_url: str) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    broker = _broker(broker_url)

    @broker.subscriber(RabbitQueue(_QUEUE, durable=True), ack_policy=AckPolicy.NACK_ON_ERROR)
    async def work(number: str) -> str:
        fates.note_run(number)
        await asyncio.sleep(fates.WORK_SECONDS)
        return number

    await broker.start()
    print("ready", flush=True)
    await stop.wait()
    await broker.stop()


async def call(broker_url: str, seconds: float) -> None:
    broker = _broker(broker_url)
    await broker.start()

    async def one(number: str) -> object:
        reply = await broker.request(number, _QUEUE, timeout=fates.TIMEOUT, persist=True)
        return await reply.decode()

    await fates.call_in_tasks(one, seconds)
    await broker.stop()


if __name__ == "__main__":
    role, url, given = fates.arguments()
    asyncio.run(serve(url) if role == "serve" else call(url, given))
