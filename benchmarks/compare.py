"""Compares Amphora with every way to make the same calls, each in a virtual environment of its own."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from broker import Broker, BrokerNotStarted
from comparison import render
from environments import NotInstalled, python_of
from figures import SERVER_START, Figure, client_start, extra, idle
from processes import PeerFailed, Server, peer_names
from report import Results, Run
from rounds import run_one
from workloads import Workload

#: From the one that the broker's limit is seen by, to those that bring the most with them.
_PEERS = (
    "librabbitmq",
    "amphora",
    "amphora_speed",
    "pyamqp",
    "pika",
    "aio_pika",
    "celery",
    "celery_threads",
    "nameko",
    "oslo",
    "faststream",
    "http",
)
_MANY_SERVERS = (2, 4)
_TIMEOUT = 60.0  # of one measurement: a peer that hangs must not hold up the others


def main() -> int:
    options = _parse()
    started = time.monotonic()
    pythons, missing = _install(options.peers, options.venvs)
    runs = [Run(1, peer, name, None, why) for peer, why in missing.items() for name in _workload_names(options)]
    figures: list[Figure] = []
    try:
        with Broker() as broker:
            setting = _setting(broker, options)
            for number in range(1, options.rounds + 1):
                runs += _round(number, pythons, broker, options, figures)
            for peer, python in pythons.items():
                figures += idle(1, peer, broker, python, options.idle)
            if "amphora" in pythons and not options.no_extras:
                figures += _extras(pythons["amphora"], broker, options)
    except BrokerNotStarted as error:
        print(error, file=sys.stderr)
        return 1
    runs.sort(key=lambda run: options.peers.index(run.peer))
    took = time.monotonic() - started
    text = f"# Comparison\n\n{setting}\n\n{render(Results(runs), runs, figures)}\n\nTook {took / 60:.1f} minutes.\n"
    print(text)
    if options.markdown:
        options.markdown.write_text(text)
    if options.json:
        found = {"setting": setting, "runs": runs, "figures": figures}
        options.json.write_text(json.dumps(found, indent=1, default=asdict) + "\n")
    if options.svg:
        from plots import plot  # matplotlib is needed for nothing else

        plot(Results(runs), options.svg)
    return 0


def _install(peers: Sequence[str], directory: Path) -> tuple[dict[str, str], dict[str, str]]:
    """The interpreters of the peers, and why others have none."""
    pythons, missing = {}, {}
    for peer in peers:
        try:
            pythons[peer] = python_of(peer, directory)
        except NotInstalled as error:
            print(error, file=sys.stderr)
            missing[peer] = f"not installed: {error}"
    return pythons, missing


def _workloads(seconds: float) -> dict[str, Workload]:
    """What runs against one server, by the names that the report knows."""

    def calls(in_flight: int, *, size: int = 100, warm_up: int = 100) -> Workload:
        # The count is more than anybody can do in the time.
        return Workload("call", int(60_000 * seconds) + 1, size, in_flight, warm_up, seconds)

    return {
        "sequential": calls(1),
        "10 in flight": calls(10),
        "in flight": calls(100, warm_up=1000),
        "1000 in flight": calls(1000, warm_up=2000),
        "10 kB": calls(10, size=10_000),
        "large": calls(10, size=100_000, warm_up=50),
        "1 MB": calls(10, size=1_000_000, warm_up=20),
    }


def _workload_names(options: argparse.Namespace) -> list[str]:
    return [*_workloads(1), *(f"{count} servers" for count in options.servers), "sends"]


def _round(
    number: int,
    pythons: dict[str, str],
    broker: Broker,
    options: argparse.Namespace,
    figures: list[Figure],
) -> list[Run]:
    """Every workload with one peer after the other, so that what is compared was measured side by side."""
    runs: list[Run] = []
    workloads = _workloads(options.seconds)
    failed: set[str] = set()
    with ExitStack() as stack:
        servers: dict[str, Server] = {}
        for peer, python in pythons.items():
            try:
                servers[peer] = stack.enter_context(Server(peer, broker.url, python=python))
            except PeerFailed as error:
                print(error, file=sys.stderr)
                failed.add(peer)
                runs += [Run(number, peer, name, None, str(error)) for name in _workload_names(options)]
                continue
            figures.append(Figure(number, peer, SERVER_START, servers[peer].seconds_to_ready))
        for peer in servers:
            figures.append(client_start(number, peer, broker, pythons[peer]))
        for name, workload in workloads.items():
            for peer, server in servers.items():
                watched = {"server": server.pid}
                runs.append(
                    run_one(number, peer, name, broker, workload, watched, python=pythons[peer], timeout=_TIMEOUT)
                )
    for peer in (each for each in pythons if each not in failed and options.servers):
        runs += _many_servers(number, peer, pythons[peer], broker, workloads["in flight"], options.servers)
    # One way means that nobody answers: the servers are gone, and the requests stay in the queue.
    for peer, python in pythons.items():
        if peer in failed:
            continue
        sends = Workload("send", int(60_000 * options.seconds) + 1, 100, 100, 1000, options.seconds)
        run = run_one(number, peer, "sends", broker, sends, {}, python=python, timeout=_TIMEOUT)
        runs.append(run)
        if run.measurement is not None:
            broker.delete_queue(run.measurement.request_queue)
    return runs


def _many_servers(
    number: int, peer: str, python: str, broker: Broker, workload: Workload, counts: Sequence[int]
) -> list[Run]:
    """The same calls with more and more servers."""
    runs: list[Run] = []
    with ExitStack() as stack:
        servers: list[Server] = []
        for count in counts:
            try:
                while len(servers) < count:
                    servers.append(stack.enter_context(Server(peer, broker.url, python=python)))
            except PeerFailed as error:
                runs.append(Run(number, peer, f"{count} servers", None, str(error)))
                continue
            watched = {f"server {index}": server.pid for index, server in enumerate(servers, 1)}
            runs.append(
                run_one(number, peer, f"{count} servers", broker, workload, watched, python=python, timeout=_TIMEOUT)
            )
    return runs


def _extras(python: str, broker: Broker, options: argparse.Namespace) -> list[Figure]:
    """What only Amphora is asked."""
    found = extra(
        1,
        "amphora",
        broker,
        python,
        server="broadcast_server",
        client="broadcast_client",
        arguments=["20"],
    )
    found += extra(
        1,
        "amphora",
        broker,
        python,
        server="labels_server",
        client="labels_client",
        arguments=[str(options.labels)],
    )
    found += extra(1, "amphora", broker, python, server="server", client="clients_client", arguments=["100"])
    return found


def _setting(broker: Broker, options: argparse.Namespace) -> str:
    return (
        f"{os.cpu_count()} cores shared by client, server and broker; RabbitMQ {broker.version}, "
        f"{platform.system()} {platform.machine()}, Python {platform.python_version()}. Median (least to most) of "
        f"{options.rounds} alternated {'round' if options.rounds == 1 else 'rounds'} of {options.seconds:g} s a "
        "workload; ratios are taken within a round."
    )


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="alternated rounds (default: 3)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement (default: 1)")
    parser.add_argument(
        "--peers",
        type=lambda given: given.split(","),
        default=list(_PEERS),
        help=f"who is measured, in this order (default: {','.join(_PEERS)})",
    )
    parser.add_argument(
        "--servers",
        type=lambda given: sorted(int(count) for count in given.split(",") if count),
        default=_MANY_SERVERS,
        help="how many servers to try besides one, such as 2,4 (the default) or nothing",
    )
    parser.add_argument("--labels", type=int, default=1000, help="label queues of amphora (default: 1000)")
    parser.add_argument("--idle", type=int, default=10, metavar="SECONDS", help="of idling (default: 10)")
    parser.add_argument("--no-extras", action="store_true", help="leave out what only amphora is asked")
    parser.add_argument("--quick", action="store_true", help="one round of 0.2 s each, few labels: does it run?")
    parser.add_argument(
        "--venvs",
        type=Path,
        default=Path(__file__).resolve().parent / ".venvs",
        metavar="DIR",
        help="where the peers' virtual environments are kept (default: benchmarks/.venvs)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every run's figures there")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write what is printed there, too")
    parser.add_argument("--svg", type=Path, metavar="DIR", help="write plots there (needs matplotlib)")
    options = parser.parse_args()
    unknown = set(options.peers) - set(peer_names())
    if unknown:
        parser.error(f"no such peer: {', '.join(sorted(unknown))}; there are {', '.join(peer_names())}")
    if options.quick:
        options.rounds, options.seconds, options.idle = 1, 0.2, 2
        options.labels = min(options.labels, 100)
    return options


if __name__ == "__main__":
    sys.exit(main())
