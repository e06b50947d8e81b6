"""Prints what a connected client and server use while nothing is called."""

from __future__ import annotations

import argparse
import sys

from broker import Broker, BrokerNotStarted
from processes import Measurement, PeerFailed, Server, peer_names, run_client
from workloads import Workload


def main() -> int:
    options = _parse()
    workload = Workload("idle", options.seconds, warm_up=10)
    print(f"{options.peer}: ten calls, then {options.seconds} s of nothing", file=sys.stderr)
    try:
        with Broker() as broker, Server(options.peer, broker.url) as server:
            measured = run_client(options.peer, broker.url, workload, {"server": server.pid})
    except (BrokerNotStarted, PeerFailed) as error:
        print(error, file=sys.stderr)
        return 1
    print(_table(measured))
    return 0


def _table(measured: Measurement) -> str:
    lines = ["| process | CPU seconds | CPU % | context switches per second |", "| --- | ---: | ---: | ---: |"]
    for name, usage in measured.usage.items():
        share, switches = usage["cpu"] / measured.seconds, usage["switches"] / measured.seconds
        lines.append(f"| {name} | {usage['cpu']:.2f} | {share:.2%} | {switches:.2f} |")
    return "\n".join(lines)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="how long (default: 60)")
    parser.add_argument("--peer", choices=peer_names(), default="amphora", help="whose (default: amphora)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
