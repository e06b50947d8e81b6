"""Runs a service under load, breaks everything around it for some minutes, and accounts for every call.

``python -m chaos.run --minutes 10 --seed 1``; ends with status 1 if a call was lost or hung, a confirmed request did
not run, or anything else was not as it should be, and keeps all notes and logs then.
"""

from gevent import monkey

monkey.patch_all()

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from time import monotonic

import gevent

from chaos.fates import read_fates
from chaos.faults import Harm
from chaos.report import last_line, progress_line, table
from chaos.stage import Incarnation, Stage
from chaos.verdict import Judge
from tests.support.eventually import wait_until

#: Seconds until everybody is connected and at work, before the first harm.
WARM_UP = 5.0
#: Seconds for queues to become empty after the last call has its outcome.
DRAIN = 60.0
#: Series of harms that go on at the same time.
SERIES = 3


def main() -> int:
    """Run, print, and return the exit status."""
    options = _parse()
    directory = Path(tempfile.mkdtemp(prefix="amphora-chaos-"))
    stage = Stage(
        directory,
        servers=options.servers,
        clients=options.clients,
        greenlets=options.greenlets,
        timeout=options.timeout,
        seed=options.seed,
        queue_type=options.queue_type,
    )
    harm = Harm(stage, directory / "harms")
    with stage.running():
        wait_until(lambda: stage.counts()["outcomes"] > 100, 60, "calls go on")
        gevent.sleep(min(WARM_UP, options.minutes * 60 / 4))
        memory_at_start = stage.memory()
        _harm(stage, harm, options.minutes, options.seed)
        stage.heal()
        memory_at_end = stage.memory()
        _finish_calls(stage, options.timeout)
        left = _drained(stage)
        _end(stage)
        reconnects = stage.counts()["reconnects"]
    clients = [each for member in stage.clients for each in member.incarnations]
    servers = [each for member in stage.servers for each in member.incarnations]
    verdict = Judge(harm.events, [*clients, *servers]).judge(read_fates(directory, clients, servers))
    print(
        table(
            verdict,
            harm.events,
            reconnects=reconnects,
            memory_at_start=memory_at_start,
            memory_at_end=memory_at_end,
            left=left,
            complaints=stage.complaints,
        )
    )
    passed = verdict.passed and not stage.complaints and not _unexplained(left, servers)
    if passed and not options.keep:
        shutil.rmtree(directory, ignore_errors=True)
    else:
        print(f"notes and logs: {directory}")
    print(last_line(verdict, reconnects=reconnects, seed=options.seed), flush=True)
    return 0 if passed else 1


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long harm is done")
    parser.add_argument("--seed", type=int, default=1, help="which harm, to whom, and for how long")
    parser.add_argument("--servers", type=int, default=4, help="processes that serve")
    parser.add_argument("--clients", type=int, default=6, help="processes that call")
    parser.add_argument("--greenlets", type=int, default=8, help="calls that a client has under way")
    parser.add_argument("--timeout", type=float, default=90.0, help="seconds that a call may take")
    parser.add_argument("--queue-type", default="auto", help="auto (the default), classic or quorum")
    parser.add_argument("--keep", action="store_true", help="keep notes and logs")
    return parser.parse_args()


def _harm(stage: Stage, harm: Harm, minutes: float, seed: int) -> None:
    """Do harm for some time, and return when the last one is over."""
    began = monotonic()
    series = [gevent.spawn(harm.run_series, f"{seed}-{number}") for number in range(SERIES)]
    shown = 0.0
    interval = 1.0 if sys.stdout.isatty() else 10.0
    while monotonic() - began < minutes * 60:
        gevent.sleep(1)
        stage.replace_crashed()
        if monotonic() - shown >= interval:
            shown = monotonic()
            line = progress_line(shown - began, minutes, stage.counts(), stage.under_way(), harm.events)
            end = "\r" if sys.stdout.isatty() else "\n"
            print(f"{line:<150}" if sys.stdout.isatty() else line, end=end, flush=True)
    harm.ending = True
    gevent.joinall(series, raise_error=True)
    if sys.stdout.isatty():
        print()


def _finish_calls(stage: Stage, timeout: float) -> None:
    """Let the clients wait for the outcomes of their calls; complain about those who do not come to an end."""
    waits = {client.name: gevent.spawn(client.finish, timeout + DRAIN) for client in stage.clients}
    gevent.joinall(list(waits.values()))
    stage.complaints += [
        f"{name} did not finish: {wait.exception}" for name, wait in waits.items() if not wait.successful()
    ]


def _end(stage: Stage) -> None:
    """End all processes; complain about those that do not end well."""
    for member in stage.members:
        if code := member.end():
            stage.complaints.append(f"{member.name} ended with {code}:\n{member.program.output}")


def _drained(stage: Stage) -> dict[str, int]:
    """Wait until all queues are empty; return what is still in them."""
    deadline = monotonic() + DRAIN
    while (left := stage.messages()) and monotonic() < deadline:
        gevent.sleep(0.2)
    return left


def _unexplained(left: Mapping[str, int], servers: Iterable[Incarnation]) -> dict[str, int]:
    """Return what should not be left in queues.

    A server that is killed between the acknowledgement of a request and the deletion of the count of its tries leaves
    that count, for a day.
    """
    killed = any(server.killed for server in servers)
    return {name: messages for name, messages in left.items() if not (killed and name.endswith("_tries"))}


if __name__ == "__main__":
    sys.exit(main())
