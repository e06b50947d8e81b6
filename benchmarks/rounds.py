"""One measurement of one peer within a round; a peer that fails does not end the others."""

from __future__ import annotations

import sys

from broker import Broker
from processes import PeerFailed, run_client
from report import Run
from workloads import Workload


def run_one(
    number: int,
    peer: str,
    name: str,
    broker: Broker,
    workload: Workload,
    watched: dict[str, int],
    *,
    python: str = sys.executable,
    timeout: float = 900.0,
) -> Run:
    """Run a client of the peer through the workload, and say on stderr what came out.

    Args:
        number: the round's.
        peer: its name, a folder of `peers/`.
        name: the workload's.
        broker: where everything goes through.
        workload: what the client does.
        watched: see `ClientArguments`; the broker is watched in any case.
        python: the interpreter that has the peer's packages; by default the present one.
        timeout: seconds after which the client has failed.
    """
    print(f"round {number}: {name}, {peer} ...", file=sys.stderr, flush=True)
    try:
        watched = {**watched, "broker": broker.pid}
        measurement = run_client(peer, broker.url, workload, watched, python=python, timeout=timeout)
    except PeerFailed as error:
        print(error, file=sys.stderr)
        return Run(number, peer, name, None, str(error))
    print(f"    {measurement.per_second:.0f} per second", file=sys.stderr, flush=True)
    return Run(number, peer, name, measurement)
