"""Prints what the type of the queues costs calls: classic, quorum, and what `queue_type="auto"` makes of a new service.

With RabbitMQ 4, `auto` is the mixture: requests in a quorum queue, replies in classic ones.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from contextlib import ExitStack

from broker import Broker, BrokerNotStarted
from peers.amphora.queue_types import VARIABLE
from processes import PeerFailed, Server, run_client
from report import table
from workloads import Workload

_TYPES = ("classic", "auto", "quorum")


def main() -> int:
    options = _parse()
    found: dict[tuple[str, str], list[float]] = {}
    try:
        with Broker() as broker:
            version = broker.version
            for number in range(options.rounds):
                # Each time another one is first.
                types = [_TYPES[(number + each) % len(_TYPES)] for each in range(len(_TYPES))]
                for key, value in _round(types, broker, options.seconds).items():
                    found.setdefault(key, []).append(value)
                    print(f"round {number + 1}: {key}: {value:.3g}", file=sys.stderr, flush=True)
    except (BrokerNotStarted, PeerFailed) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"RabbitMQ {version}, {os.cpu_count()} cores, median of {options.rounds} alternated rounds")
    print("(in brackets: the median of the ratios to classic within a round)\n")
    heads = ["type", "sequential, p50 in ms", "100 in flight, calls/s", "confirmed sends/s"]
    rows = [[name, *(_cell(found, name, what) for what in ("sequential", "in flight", "sends"))] for name in _TYPES]
    print(table(heads, rows, numbers=True))
    return 0


def _cell(found: dict[tuple[str, str], list[float]], name: str, what: str) -> str:
    values = found[name, what]
    ratios = [value / classic for value, classic in zip(values, found["classic", what], strict=True)]
    return f"{statistics.median(values):.4g} ({statistics.median(ratios):.2f})"


def _round(types: list[str], broker: Broker, seconds: float) -> dict[tuple[str, str], float]:
    """Each workload with one type after the other."""
    found = {}
    with ExitStack() as stack:
        for name in types:
            os.environ[VARIABLE] = name
            stack.enter_context(Server("amphora", broker.url))
        for what, in_flight in (("sequential", 1), ("in flight", 100)):
            for name in types:
                os.environ[VARIABLE] = name
                workload = Workload("call", 10**6, in_flight=in_flight, warm_up=10**6, seconds=seconds)
                measured = run_client("amphora", broker.url, workload, {})
                found[name, what] = measured.p50_ms if in_flight == 1 else measured.per_second
    for name in types:
        os.environ[VARIABLE] = name
        workload = Workload("send", 10**6, in_flight=100, warm_up=10**6, seconds=seconds)
        measured = run_client("amphora", broker.url, workload, {})
        found[name, "sends"] = measured.per_second
        broker.delete_queue(measured.request_queue)
    return found


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="alternated rounds (default: 5)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement (default: 2)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
