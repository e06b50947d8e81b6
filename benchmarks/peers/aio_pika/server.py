"""The server with aio-pika's RPC pattern."""

from __future__ import annotations

import asyncio
import sys

import aio_pika
from aio_pika.patterns.rpc import JsonRPC

FUNCTION = "bench_aio_pika_echo"  # the name of its queue as well
_CONCURRENCY = 100


async def echo(*, value: str) -> str:
    return value


async def serve(broker_url: str) -> None:
    connection = await aio_pika.connect(broker_url.removesuffix("/") + "%2F")
    channel = await connection.channel(publisher_confirms=True)
    await channel.set_qos(prefetch_count=_CONCURRENCY)
    rpc = await JsonRPC.create(channel)
    await rpc.register(FUNCTION, echo, durable=True, auto_delete=False)
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
