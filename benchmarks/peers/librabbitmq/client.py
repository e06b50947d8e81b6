"""Tells the client in C what to do, and measures it from outside: its CPU time counts as the client's."""

from __future__ import annotations

import subprocess
import time
from array import array
from typing import IO

from workloads import ClientArguments

from peers.librabbitmq.program import PROGRAM, host_and_port
from peers.measuring import Turns, measure, print_result


def main() -> None:
    arguments = ClientArguments.parse()
    workload = arguments.workload
    action = "send" if workload.action == "send" else "call"
    command = [PROGRAM, "client", *host_and_port(arguments.broker_url)]
    command += [action, str(workload.size), str(workload.in_flight)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        told, said = program.stdin, program.stdout
        measured = measure(arguments, lambda turns: _repeat(turns, told, said), time.sleep)
    version = subprocess.run([PROGRAM, "version"], capture_output=True, text=True, check=True)
    print_result(
        measured,
        versions={"librabbitmq": version.stdout.strip()},
        guarantees="persistent, both ways confirmed (pipelined), request acknowledged after its confirmed reply, "
        "reply acknowledged; JSON cut by hand, one function, connects once, resends nothing, no heartbeats",
        request_queue="bench_librabbitmq_request",
    )


def _repeat(turns: Turns, told: IO[bytes], said: IO[bytes]) -> None:
    count, seconds = turns.limits
    told.write(f"{count} {seconds or 0}\n".encode())
    told.flush()
    word, _, done = said.readline().decode().partition(" ")
    if word != "done":
        raise RuntimeError("the client in C ended before it was done")
    latencies = array("d")
    latencies.frombytes(said.read(int(done) * latencies.itemsize))
    turns.take(latencies)


if __name__ == "__main__":
    main()
