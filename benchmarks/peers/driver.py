"""Drives a peer's client with greenlets of gevent."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import gevent

from peers.blocking import Caller, drive


def run_client(
    connect: Callable[[str], Caller],
    *,
    packages: Sequence[str],
    guarantees: str,
    request_queue: str,
) -> None:
    """The `main` of a gevent peer's client: read the command line, work, print the result.

    Args:
        connect: makes the caller from a broker's URL.
        packages: the distributions whose versions belong to the result.
        guarantees: what this peer promises while measured, in a few words, for the report.
        request_queue: where `send` leaves requests that nobody takes; the benchmark deletes it afterwards.
    """
    drive(
        connect,
        together=_together,
        sleep=gevent.sleep,
        packages=packages,
        guarantees=guarantees,
        request_queue=request_queue,
    )


def _together(work: Callable[[], None], count: int) -> None:
    gevent.joinall([gevent.spawn(work) for _ in range(count)], raise_error=True)
