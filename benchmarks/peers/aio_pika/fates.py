"""aio-pika's part in `fates.py`: its RPC pattern over connections that are made again (`connect_robust`)."""

from __future__ import annotations

import asyncio
import signal

import aio_pika
from aio_pika.patterns.rpc import JsonRPC

from peers import fates

_FUNCTION = "fates_aio_pika_work"


async def _channel(broker_url: str) -> tuple[aio_pika.abc.AbstractRobustConnection, aio_pika.abc.AbstractChannel]:
    connection = await aio_pika.connect_robust(broker_url.removesuffix("/") + "%2F", reconnect_interval=1)
    channel = await connection.channel(publisher_confirms=True)
    await channel.set_qos(prefetch_count=fates.CONCURRENCY)
    return connection, channel


async def work(*, number: str) -> str:
    fates.note_run(number)
    await asyncio.sleep(fates.WORK_SECONDS)
    return number


async def serve(broker_url: str) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    connection, channel = await _channel(broker_url)
    rpc = await JsonRPC.create(channel)
    await rpc.register(_FUNCTION, work, durable=True, auto_delete=False)
    print("ready", flush=True)
    await stop.wait()
    await connection.close()


async def call(broker_url: str, seconds: float) -> None:
    _, channel = await _channel(broker_url)
    rpc = await JsonRPC.create(channel)

    async def one(number: str) -> object:
        return await rpc.call(_FUNCTION, {"number": number}, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)

    await fates.call_in_tasks(one, seconds)


if __name__ == "__main__":
    role, url, given = fates.arguments()
    asyncio.run(serve(url) if role == "serve" else call(url, given))
