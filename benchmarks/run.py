"""Compares Amphora with other ways to do the same calls, and prints tables in Markdown."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from broker import Broker, BrokerNotStarted
from processes import PeerFailed, Server, peer_names
from report import Results, Run, render
from rounds import run_one
from wanted import OF_THE_CORE, wanted_section
from workloads import Workload

_LARGE = 100_000
_DEFAULT_PEERS = "amphora,pyamqp,celery"


def main() -> int:
    options = _parse()
    rounds, calls = (1, options.calls // 10) if options.quick else (options.rounds, options.calls)
    runs: list[Run] = []
    try:
        with Broker() as broker:
            print(f"# Benchmark\n\n{_setting(broker, rounds)}\n")
            for number in range(1, rounds + 1):
                runs += _round(number, options.peers, broker, calls)
    except (BrokerNotStarted, PeerFailed) as error:
        print(error, file=sys.stderr)
        return 1
    results = Results(runs)
    print(f"{render(results, large_size=_LARGE)}\n\n{wanted_section(results, OF_THE_CORE)}")
    if options.json:
        options.json.write_text(json.dumps([asdict(run) for run in runs], indent=1) + "\n")
    return 0 if all(run.measurement for run in runs) else 1


def _workloads(calls: int) -> dict[str, Workload]:
    """What runs against a server, by the names that the report knows."""
    return {
        "sequential": Workload("call", max(calls // 10, 100), warm_up=100),
        "in flight": Workload("call", calls, in_flight=100, warm_up=min(calls // 10, 1000)),
        "large": Workload("call", max(calls // 20, 100), size=_LARGE, in_flight=10, warm_up=50),
    }


def _round(number: int, peers: Sequence[str], broker: Broker, calls: int) -> list[Run]:
    """Every workload with one peer after the other, so that what is compared was measured side by side."""
    runs = []
    with ExitStack() as stack:
        servers = {peer: stack.enter_context(Server(peer, broker.url)) for peer in peers}
        for name, workload in _workloads(calls).items():
            for peer, server in servers.items():
                runs.append(run_one(number, peer, name, broker, workload, {"server": server.pid}))
    # One way means that nobody answers: the servers are gone, and the requests stay in the queue.
    for peer in peers:
        workload = Workload("send", max(calls // 2, 100), in_flight=100, warm_up=min(calls // 10, 1000))
        run = run_one(number, peer, "sends", broker, workload, {})
        runs.append(run)
        if run.measurement is not None:
            broker.delete_queue(run.measurement.request_queue)
    return runs


def _setting(broker: Broker, rounds: int) -> str:
    return (
        f"{os.cpu_count()} cores shared by client, server and broker; RabbitMQ {broker.version}, "
        f"{platform.system()} {platform.machine()}. Median (least to most) of {rounds} alternated "
        f"{'round' if rounds == 1 else 'rounds'}; ratios are taken within a round."
    )


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="alternated rounds (default: 3)")
    parser.add_argument(
        "--calls",
        type=int,
        default=20_000,
        help="calls with 100 in flight (default: 20000); a tenth of it sequentially, half of it as "
        "sends, a twentieth with 100 kB",
    )
    parser.add_argument(
        "--peers",
        type=lambda given: given.split(","),
        default=_DEFAULT_PEERS.split(","),
        help=f"who is measured, in this order (default: {_DEFAULT_PEERS}; there are {', '.join(peer_names())})",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every run's figures there")
    parser.add_argument("--quick", action="store_true", help="one round with a tenth of the calls")
    options = parser.parse_args()
    unknown = set(options.peers) - set(peer_names())
    if unknown:
        parser.error(f"no such peer: {', '.join(sorted(unknown))}; there are {', '.join(peer_names())}")
    return options


if __name__ == "__main__":
    sys.exit(main())
