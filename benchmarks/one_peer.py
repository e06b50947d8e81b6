"""What the programs share that measure one peer and print one table."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from broker import Broker, BrokerNotStarted
from processes import Measurement, PeerFailed, Server, peer_names, run_client
from workloads import Workload


def new_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser that knows the argument for the peer."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--peer", choices=peer_names(), default="amphora", help="whose (default: amphora)")
    return parser


def print_measured(peer: str, workload: Workload, table: Callable[[Measurement], str]) -> int:
    """Run a workload with a broker and a server of its own, print the table, and return the exit status."""
    try:
        with Broker() as broker, Server(peer, broker.url) as server:
            measured = run_client(peer, broker.url, workload, {"server": server.pid})
    except (BrokerNotStarted, PeerFailed) as error:
        print(error, file=sys.stderr)
        return 1
    print(table(measured))
    return 0
