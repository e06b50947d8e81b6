"""Prints what `concurrency` and the number of servers do to throughput and latency, for functions that wait or compute.

So many callers call all the time: what they cannot have at once, they wait for.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from dataclasses import dataclass

from broker import Broker, BrokerNotStarted
from processes import Measurement, PeerFailed, Server, run_client
from report import table
from workloads import Workload


@dataclass(frozen=True)
class Function:
    """What the servers run.

    Attributes:
        kind: `wait` or `compute`.
        seconds: how long it takes, of the processor where it computes.
    """

    kind: str
    seconds: float

    def __str__(self) -> str:
        return f"{'waits' if self.kind == 'wait' else 'computes'} {self.seconds * 1000:g} ms"


FUNCTIONS = (Function("wait", 0.01), Function("wait", 0.1), Function("compute", 0.005))


def main() -> int:
    options = _parse()
    rows = []
    try:
        with Broker() as broker:
            for function in FUNCTIONS:
                for concurrency in options.concurrency:
                    measured = _measure(function, concurrency, broker, options)
                    rows.append([str(function), str(concurrency), *(_cell(each) for each in measured)])
    except (BrokerNotStarted, PeerFailed) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{options.callers} callers; calls per second, p50 / p99 in ms\n")
    heads = [f"{count} server{'s' if count > 1 else ''}" for count in options.servers]
    print(table(["the function", "`concurrency`", *heads], rows, numbers=True))
    return 0


def _measure(function: Function, concurrency: int, broker: Broker, options: argparse.Namespace) -> list[Measurement]:
    """The same calls with more and more servers."""
    found = []
    with ExitStack() as stack:
        running = 0
        for count in options.servers:
            arguments = [str(concurrency), str(function.seconds), function.kind]
            while running < count:
                stack.enter_context(Server("amphora", broker.url, module="waiting_server", arguments=arguments))
                running += 1
            workload = Workload("call", 10**6, in_flight=options.callers, warm_up=10**6, seconds=options.seconds)
            found.append(run_client("amphora", broker.url, workload, {}))
            print(f"{function}, {concurrency}, {count} servers: {_cell(found[-1])}", file=sys.stderr, flush=True)
    return found


def _cell(measured: Measurement) -> str:
    return f"{measured.per_second:.0f}, {measured.p50_ms:.0f} / {measured.p99_ms:.0f}"


def _numbers(given: str) -> list[int]:
    return sorted(int(count) for count in given.split(","))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement (default: 3)")
    parser.add_argument("--callers", type=int, default=200, help="how many calls are under way (default: 200)")
    parser.add_argument("--servers", type=_numbers, default=[1, 2, 4], help="server processes (default: 1,2,4)")
    parser.add_argument("--concurrency", type=_numbers, default=[1, 10, 100, 1000], help="(default: 1,10,100,1000)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
