"""Prints what a call costs through a `ThreadedClient`, beside one of a program that gevent has patched.

Both call the same server, in turns, each in a process of its own: sequential calls, and calls of 100 threads or
greenlets at a time.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

KINDS = ("patched", "threads")
IN_FLIGHT = 100
#: That of peers/amphora/server.py, which patches the process that imports it.
SERVICE = "bench_amphora"

if sys.argv[1:2] == ["--client"] and sys.argv[2] == "patched":
    from gevent import monkey

    monkey.patch_all()

from broker import Broker, BrokerNotStarted
from processes import PeerFailed, Server
from report import table


def main() -> int:
    """Measure, and print a table."""
    options = _parse()
    measured: dict[str, list[dict[str, float]]] = {kind: [] for kind in KINDS}
    try:
        with Broker() as broker, Server("amphora", broker.url):
            for _ in range(options.rounds):
                for kind in KINDS:
                    measured[kind].append(_run_client(kind, broker.url, options.calls))
    except (BrokerNotStarted, PeerFailed) as error:
        print(error, file=sys.stderr)
        return 1
    print(_table(measured))
    return 0


def _run_client(kind: str, url: str, calls: int) -> dict[str, float]:
    command = [sys.executable, str(Path(__file__)), "--client", kind, url, str(calls)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise PeerFailed(f"the client with {kind} ended with {done.returncode}")
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


def _table(measured: dict[str, list[dict[str, float]]]) -> str:
    def middle(kind: str, name: str) -> float:
        return median(each[name] for each in measured[kind])

    rows = []
    for name, unit in (("p50", "µs"), ("p99", "µs"), ("at once", "/s"), ("CPU", "µs")):
        patched, threads = middle("patched", name), middle("threads", name)
        rows.append([f"{name}, {unit}", f"{patched:.0f}", f"{threads:.0f}", f"{threads / patched:.2f}"])
    return table(["", *KINDS, "ratio"], rows, numbers=True)


# In the client's process.


def client(url: str, calls: int) -> None:
    """Call, and print how long it took."""
    from amphora import make_client

    with make_client(SERVICE, broker_url=url) as made:
        echo: Callable[[Any], Any] = made.call.echo
        for number in range(200):
            echo(number)
        cpu = time.process_time()
        sequential = sorted(_seconds(echo, number) for number in range(calls))
        cpu = time.process_time() - cpu
        print(
            json.dumps(
                {
                    "p50": sequential[calls // 2] * 1e6,
                    "p99": sequential[calls * 99 // 100] * 1e6,
                    "CPU": cpu / calls * 1e6,
                    "at once": _at_once(echo, calls),
                }
            )
        )


def _seconds(echo: Callable[[Any], Any], number: int) -> float:
    started = time.perf_counter()
    echo(number)
    return time.perf_counter() - started


def _at_once(echo: Callable[[Any], Any], calls: int) -> float:
    import threading

    def some() -> None:
        for number in range(calls // IN_FLIGHT):
            echo(number)

    started = time.perf_counter()
    threads = [threading.Thread(target=some) for _ in range(IN_FLIGHT)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return calls // IN_FLIGHT * IN_FLIGHT / (time.perf_counter() - started)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="of both kinds in turns (default: 5)")
    parser.add_argument("--calls", type=int, default=3000, help="of each measurement (default: 3000)")
    return parser.parse_args()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--client"]:
        client(sys.argv[3], int(sys.argv[4]))
    else:
        sys.exit(main())
