"""Prints how the calls per second grow with the number of server processes, until the machine or the broker is full.

The function waits, as one does that asks a database, so that one server process is full long before its core is.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack

from broker import Broker, BrokerNotStarted
from processes import Measurement, PeerFailed, Server, run_client
from report import table
from workloads import Workload


def main() -> int:
    options = _parse()
    most = options.concurrency / options.delay
    print(f"up to {most:.0f} calls per second and server: {options.concurrency} at a time, {options.delay} s each")
    rows: list[tuple[int, Measurement]] = []
    try:
        with Broker() as broker, ExitStack() as stack:
            servers: list[Server] = []
            for count in options.servers:
                arguments = [str(options.concurrency), str(options.delay)]
                while len(servers) < count:
                    server = Server("amphora", broker.url, module="waiting_server", arguments=arguments)
                    servers.append(stack.enter_context(server))
                in_flight = 2 * options.concurrency * count
                workload = Workload("call", 10**6, in_flight=in_flight, warm_up=10**6, seconds=options.seconds)
                watched = {f"server {index}": each.pid for index, each in enumerate(servers, 1)}
                watched["broker"] = broker.pid
                rows.append((count, run_client("amphora", broker.url, workload, watched)))
    except (BrokerNotStarted, PeerFailed) as error:
        print(error, file=sys.stderr)
        return 1
    print(_table(rows))
    return 0


def _table(rows: Sequence[tuple[int, Measurement]]) -> str:
    first = rows[0][1].per_second / rows[0][0]
    cells = []
    for count, measured in rows:
        cpu = {name: usage["cpu"] / measured.seconds for name, usage in measured.usage.items()}
        servers = sum(used for name, used in cpu.items() if name.startswith("server"))
        busy = cpu["client"] + servers + cpu["broker"]
        cells.append(
            [
                str(count),
                f"{measured.per_second:.0f}",
                f"{measured.per_second / first:.2f}",
                f"{measured.p50_ms:.1f}",
                *(f"{used:.2f}" for used in (cpu["client"], servers, cpu["broker"])),
                f"{busy / (os.cpu_count() or 1):.0%}",
            ]
        )
    head = ["servers", "calls/s", "times one", "p50 ms", "cores: client", "servers", "broker", "machine in use"]
    return table(head, cells, numbers=True)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement (default: 3)")
    parser.add_argument(
        "--servers",
        type=lambda given: sorted(int(count) for count in given.split(",")),
        default=[1, 2, 4, 8, 16],
        help="how many server processes (default: 1,2,4,8,16)",
    )
    parser.add_argument("--concurrency", type=int, default=10, help="of each server (default: 10)")
    parser.add_argument("--delay", type=float, default=0.01, help="seconds that the function waits (default: 0.01)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
