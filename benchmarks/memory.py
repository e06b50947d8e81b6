"""Prints the memory of client and server before and after many calls."""

from __future__ import annotations

import argparse
import sys

from broker import Broker, BrokerNotStarted
from processes import Measurement, PeerFailed, Server, peer_names, run_client
from workloads import Workload

_MIB = 1024 * 1024


def main() -> int:
    options = _parse()
    workload = Workload("call", options.calls, in_flight=100, warm_up=options.warm_up)
    print(f"{options.peer}: {options.warm_up} calls, then {options.calls} more", file=sys.stderr)
    try:
        with Broker() as broker, Server(options.peer, broker.url) as server:
            measured = run_client(options.peer, broker.url, workload, {"server": server.pid})
    except (BrokerNotStarted, PeerFailed) as error:
        print(error, file=sys.stderr)
        return 1
    print(_table(measured))
    return 0


def _table(measured: Measurement) -> str:
    lines = ["| process | MiB before | MiB after | more | bytes a call |", "| --- | ---: | ---: | ---: | ---: |"]
    for name, usage in measured.usage.items():
        before, after = usage["rss_before"], usage["rss_after"]
        more = after - before
        row = [name, f"{before / _MIB:.1f}", f"{after / _MIB:.1f}", f"{more / _MIB:+.1f}"]
        lines.append(f"| {' | '.join(row)} | {more / measured.count:+.1f} |")
    return "\n".join(lines)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=100_000, help="between the two readings (default: 100000)")
    parser.add_argument("--warm-up", type=int, default=20_000, help="before the first reading (default: 20000)")
    parser.add_argument("--peer", choices=peer_names(), default="amphora", help="whose (default: amphora)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
