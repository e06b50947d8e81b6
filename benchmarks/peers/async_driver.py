"""Drives a peer's client with tasks of asyncio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from workloads import ClientArguments, Workload

from peers.measuring import Turns, check, measure, print_result


class AsyncCaller(Protocol):
    """What an asyncio peer's client has to offer; see `peers.blocking.Caller`."""

    async def call(self, payload: str) -> str: ...

    async def send(self, payload: str) -> None: ...

    async def close(self) -> None: ...


def run_client(
    connect: Callable[[str], Awaitable[AsyncCaller]],
    *,
    packages: Sequence[str],
    guarantees: str,
    request_queue: str,
) -> None:
    """The `main` of an asyncio peer's client; the arguments are those of `peers.driver.run_client`."""
    arguments = ClientArguments.parse()
    with asyncio.Runner() as runner:
        caller = runner.run(_wait_for(connect(arguments.broker_url)))
        measured = measure(
            arguments,
            repeat=lambda turns: runner.run(_repeat(caller, arguments.workload, turns)),
            sleep=lambda seconds: runner.run(asyncio.sleep(seconds)),
        )
        print_result(measured, packages=packages, guarantees=guarantees, request_queue=request_queue)
        runner.run(caller.close())


async def _wait_for(caller: Awaitable[AsyncCaller]) -> AsyncCaller:
    return await caller


async def _repeat(caller: AsyncCaller, workload: Workload, turns: Turns) -> None:
    payload = "x" * workload.size

    async def work() -> None:
        for turn in turns:
            started = time.perf_counter()
            if workload.action == "send":
                await caller.send(payload)
                turns.note(turn, time.perf_counter() - started)
            else:
                reply = await caller.call(payload)
                turns.note(turn, time.perf_counter() - started)
                check(reply, payload)

    await asyncio.gather(*(work() for _ in range(workload.in_flight)))
