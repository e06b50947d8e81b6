"""Single figures that are no calls per second: start-up times, memory, what Amphora alone can do."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass

from broker import Broker
from processes import PeerFailed, Server, run_client, run_module
from workloads import Workload


@dataclass(frozen=True)
class Figure:
    """One number.

    Attributes:
        round: in which it was read.
        peer: whose it is.
        name: what it says, with its unit.
        value: None if it could not be read.
        reason: why not.
    """

    round: int
    peer: str
    name: str
    value: float | None
    reason: str = ""


SERVER_START = "server: seconds until it serves"
CLIENT_START = "client: seconds until its first reply"

#: What is read of every peer beside its calls.
AT_REST = (
    SERVER_START,
    CLIENT_START,
    "idle CPU of the client, %",
    "idle CPU of the server, %",
    "memory of the client, MB",
    "memory of the server, MB",
)

# A peer that hangs must not hold up the others.
_TIMEOUT = 60.0
_EXTRA_TIMEOUT = 300.0  # ten thousand label queues take a while


def client_start(number: int, peer: str, broker: Broker, python: str) -> Figure:
    """Start a client that calls once; what counts is the time from its start to the reply."""
    try:
        measurement = run_client(peer, broker.url, Workload("call", 1, warm_up=0), {}, python=python, timeout=_TIMEOUT)
    except PeerFailed as error:
        return Figure(number, peer, CLIENT_START, None, str(error))
    return Figure(number, peer, CLIENT_START, measurement.since_start)


def idle(number: int, peer: str, broker: Broker, python: str, seconds: int) -> list[Figure]:
    """CPU time and memory of a client and a server that are connected and do nothing, after ten calls."""
    try:
        with Server(peer, broker.url, python=python) as server:
            workload = Workload("idle", seconds, warm_up=10)
            measured = run_client(
                peer, broker.url, workload, {"server": server.pid}, python=python, timeout=_TIMEOUT + seconds
            )
    except PeerFailed as error:
        return [Figure(number, peer, "idle", None, str(error))]
    figures = []
    for name in ("client", "server"):
        used = measured.usage[name]
        figures.append(Figure(number, peer, f"idle CPU of the {name}, %", used["cpu"] / measured.seconds * 100))
        figures.append(Figure(number, peer, f"memory of the {name}, MB", used["rss_after"] / 1e6))
    return figures


def extra(
    number: int, peer: str, broker: Broker, python: str, *, server: str | None, client: str, arguments: list[str]
) -> list[Figure]:
    """Run a further pair of modules of the peer; the client prints its figures as one object of JSON.

    Args:
        number: the round's.
        peer: its name, a folder of `peers/`.
        broker: where everything goes through.
        python: the interpreter that has the peer's packages.
        server: the server's module; None for none.
        client: the client's.
        arguments: for both, after the broker's URL.
    """
    print(f"round {number}: {client}, {peer} ...", file=sys.stderr, flush=True)
    try:
        if server is None:
            line = run_module(peer, client, [broker.url, *arguments], python=python, timeout=_EXTRA_TIMEOUT)
        else:
            with Server(peer, broker.url, python=python, module=server, arguments=arguments) as running:
                pid = str(running.pid)
                line = run_module(peer, client, [broker.url, *arguments, pid], python=python, timeout=_EXTRA_TIMEOUT)
    except PeerFailed as error:
        print(error, file=sys.stderr)
        return [Figure(number, peer, client.replace("_", " "), None, str(error))]
    return [Figure(number, peer, name, value) for name, value in json.loads(line).items()]
