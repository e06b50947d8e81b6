"""What a peer's client offers if its calls block, and how it is driven by greenlets or threads."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from workloads import ClientArguments, Workload

from peers.measuring import Turns, check, measure, print_result

#: Runs a function so many times at once, and returns when all have ended; raises what one of them raised.
Together = Callable[[Callable[[], None], int], None]


class Caller(Protocol):
    """What a peer's client has to offer; each method is called from many greenlets or threads at once."""

    def call(self, payload: str) -> str:
        """Have the server echo the payload, and return the reply."""

    def send(self, payload: str) -> None:
        """Send the same request without waiting for a reply; return when the broker confirmed it."""

    def close(self) -> None:
        """Disconnect."""


def drive(
    connect: Callable[[str], Caller],
    *,
    together: Together,
    sleep: Callable[[float], object],
    packages: Sequence[str],
    guarantees: str,
    request_queue: str,
) -> None:
    """Read the command line, work, print the result."""
    arguments = ClientArguments.parse()
    caller = connect(arguments.broker_url)

    def repeat(turns: Turns) -> None:
        together(lambda: _work(caller, arguments.workload, turns), arguments.workload.in_flight)

    measured = measure(arguments, repeat, sleep)
    print_result(measured, packages=packages, guarantees=guarantees, request_queue=request_queue)
    caller.close()


def _work(caller: Caller, workload: Workload, turns: Turns) -> None:
    """Do the action once for each turn that this greenlet or thread gets, and note how long it took."""
    payload = "x" * workload.size
    if workload.action == "send":
        for turn in turns:
            started = time.perf_counter()
            caller.send(payload)
            turns.note(turn, time.perf_counter() - started)
        return
    for turn in turns:
        started = time.perf_counter()
        reply = caller.call(payload)
        turns.note(turn, time.perf_counter() - started)
        check(reply, payload)
