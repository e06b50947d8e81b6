"""Drives a peer's client with threads."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from peers.blocking import Caller, drive


def run_client(
    connect: Callable[[str], Caller],
    *,
    packages: Sequence[str],
    guarantees: str,
    request_queue: str,
) -> None:
    """The `main` of a threaded peer's client; the arguments are those of `peers.driver.run_client`."""
    drive(
        connect,
        together=_together,
        sleep=time.sleep,
        packages=packages,
        guarantees=guarantees,
        request_queue=request_queue,
    )


def _together(work: Callable[[], None], count: int) -> None:
    with ThreadPoolExecutor(count) as pool:
        for done in [pool.submit(work) for _ in range(count)]:
            done.result()
