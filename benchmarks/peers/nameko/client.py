"""The standalone proxy of nameko: it is for one thread, so many are in flight by `call_async`."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

from nameko.standalone.rpc import ServiceRpcProxy
from workloads import ClientArguments, Workload

from peers.measuring import Turns, check, measure, print_result

SERVICE = "bench_nameko"


def main() -> None:
    arguments = ClientArguments.parse()
    with ServiceRpcProxy(SERVICE, {"AMQP_URI": arguments.broker_url}) as proxy:
        measured = measure(arguments, lambda turns: _repeat(proxy, arguments.workload, turns), time.sleep)
        print_result(
            measured,
            packages=["nameko", "kombu", "amqp", "eventlet"],
            guarantees="persistent; both ways confirmed, one message at a time; request acknowledged after its "
            "confirmed reply, reply acknowledged; with many in flight the oldest is waited for first",
            request_queue=f"rpc-{SERVICE}",
        )


def _repeat(proxy: Any, workload: Workload, turns: Turns) -> None:
    payload = "x" * workload.size
    if workload.action == "send":
        for turn in turns:
            started = time.perf_counter()
            proxy.echo.call_async(payload)  # returns when the broker has confirmed the request
            turns.note(turn, time.perf_counter() - started)
        return
    waiting: deque[tuple[int, float, Any]] = deque()
    for turn in turns:
        waiting.append((turn, time.perf_counter(), proxy.echo.call_async(payload)))
        if len(waiting) == workload.in_flight:
            _finish(waiting.popleft(), payload, turns)
    while waiting:
        _finish(waiting.popleft(), payload, turns)


def _finish(call: tuple[int, float, Any], payload: str, turns: Turns) -> None:
    turn, started, reply = call
    value = reply.result()
    turns.note(turn, time.perf_counter() - started)
    check(value, payload)


if __name__ == "__main__":
    main()
