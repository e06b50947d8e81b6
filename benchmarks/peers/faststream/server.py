"""The FastStream subscriber."""

from __future__ import annotations

import asyncio
import sys

from faststream.rabbit import Channel, RabbitBroker, RabbitQueue

QUEUE = "bench_faststream"
_CONCURRENCY = 100


async def serve(broker_url: str) -> None:
    broker = RabbitBroker(
        broker_url.removesuffix("/") + "%2F", default_channel=Channel(prefetch_count=_CONCURRENCY), logger=None
    )

    @broker.subscriber(RabbitQueue(QUEUE, durable=True))
    async def echo(value: str) -> str:
        return value

    await broker.start()
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
