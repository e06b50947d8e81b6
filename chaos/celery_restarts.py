"""Restarts the broker under a Celery worker that serves calls, again and again, and accounts for every call.

``python -m chaos.celery_restarts --restarts 50``; every other restart is a `kill -9` of the broker. Ends with status 1
if a call was lost or hung, a confirmed request did not run, or the worker ended or runs no more tasks, and keeps the
notes and the worker's log then.
"""

from gevent import monkey

monkey.patch_all()

import argparse
import json
import shutil
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from time import monotonic

import gevent
from celery import Celery

from amphora import AmqpRpcClient, AmqpRpcException
from chaos.notes import read_notes
from tests.support.broker import Broker
from tests.support.eventually import wait_until
from tests.support.processes import Program

APPLICATION = "chaos.celery_app"
SERVICE = "chaos_celery"
NODE = "chaos@localhost"
#: Seconds that the worker has to come back after a restart, with calls and with tasks.
PATIENCE = 120.0
#: Calls with a result between two restarts, at the least.
BETWEEN = 200


@dataclass
class Calls:
    """What became of the calls, by number."""

    begun: dict[int, float] = field(default_factory=dict)
    confirmed: set[int] = field(default_factory=set)
    answered: set[int] = field(default_factory=set)
    errors: dict[int, str] = field(default_factory=dict)
    longest: float = 0.0
    ending: bool = False

    def make(self, client: AmqpRpcClient, numbers: "count[int]") -> None:
        """Call until `ending`."""
        while not self.ending:
            self._make_one(client, next(numbers))

    def _make_one(self, client: AmqpRpcClient, number: int) -> None:
        self.begun[number] = began = monotonic()
        try:
            result = client.defer.work(number)
            self.confirmed.add(number)
            answer = result.get()
        except AmqpRpcException as error:
            self.errors[number] = f"{type(error).__name__}: {error}"
            return
        if answer == number:
            self.answered.add(number)
        else:
            self.errors[number] = f"a wrong answer: {answer!r}"
        self.longest = max(self.longest, monotonic() - began)


def main() -> int:
    """Run, print, and return the exit status."""
    options = _parse()
    directory = Path(tempfile.mkdtemp(prefix="amphora-chaos-"))
    broker = Broker(directory)
    broker.start()
    environment = _environment(broker, directory)
    arguments = ["worker", "-P", "gevent", "-c", "100", "--amphora", "-l", "INFO", "-n", NODE]
    try:
        with Program("-m", "celery", "-A", APPLICATION, *arguments, env=environment) as worker:
            worker.wait_for_line("is served: ", PATIENCE)
            complaints = _run(broker, worker, directory, options)
            (directory / "worker.log").write_text(worker.output)
    finally:
        broker.close()
    if complaints:
        print("\n".join([*complaints, f"notes and the worker's log are in {directory}"]), file=sys.stderr)
        return 1
    shutil.rmtree(directory)
    return 0


def _run(broker: Broker, worker: Program, directory: Path, options: argparse.Namespace) -> list[str]:
    """Restart under load, print what came of it, and return what is wrong."""
    calls, numbers = Calls(), count(1)
    notes = directory / f"worker.{worker.pid}.notes"
    with AmqpRpcClient(SERVICE, broker_url=broker.url, timeout=PATIENCE) as client:
        load = [gevent.spawn(calls.make, client, numbers) for _ in range(options.in_flight)]
        _wait_for_more(calls)
        for restart in range(1, options.restarts + 1):
            if restart % 2:
                broker.stop()
            else:
                broker.kill()
            broker.start()
            _wait_for_more(calls)
            _wait_for_task(broker.url, notes, restart)
            if sys.stdout.isatty():
                print(f"\r{restart} restarts, {len(calls.answered)} calls", end="", flush=True)
        calls.ending = True
        gevent.joinall(load, timeout=PATIENCE + 30, raise_error=True)
        reconnects = client.stats()["reconnects"] + _served(_environment(broker, directory))["reconnects"]
    if sys.stdout.isatty():
        print()
    code = worker.terminate(PATIENCE)
    return _account(calls, notes, code, reconnects, options.restarts)


def _account(calls: Calls, notes: Path, code: int, reconnects: int, restarts: int) -> list[str]:
    """Print the sums, and return what is wrong."""
    noted = Counter((note.what, note.request) for note in read_notes(notes))
    begins = {int(request): times for (what, request), times in noted.items() if what == "begin"}
    ends = {int(request) for what, request in noted if what == "end"}
    hung = calls.begun.keys() - calls.answered - calls.errors.keys()
    unrun = calls.confirmed - ends
    twice = [number for number, times in begins.items() if times > 1]
    tasks = len({request for what, request in noted if what == "task"})
    print(f"tasks that ran after a restart: {tasks}; longest call: {calls.longest:.1f} s")
    print(
        f"lost={len(calls.errors)} hung={len(hung)} unrun={len(unrun)} twice={len(twice)} calls={len(calls.begun)} "
        f"restarts={restarts} reconnects={reconnects}"
    )
    complaints = [f"call {number}: {error}" for number, error in calls.errors.items()]
    complaints += [f"call {number} has no outcome" for number in sorted(hung)]
    complaints += [f"request {number} was confirmed and did not run" for number in sorted(unrun)]
    complaints += [f"request {number} was run more than once by one process" for number in twice]
    if code:
        complaints.append(f"the worker ended with {code}")
    return complaints


def _wait_for_more(calls: Calls) -> None:
    wanted = len(calls.answered) + BETWEEN
    wait_until(lambda: len(calls.answered) >= wanted, PATIENCE, "calls go on")


def _wait_for_task(broker_url: str, notes: Path, number: int) -> None:
    """Wait until the worker has run a task that was sent after the restart."""
    with Celery(broker=broker_url) as app:
        app.send_task("chaos.note", [number], ignore_result=True)
    told = f"task {number} "
    wait_until(lambda: any(line.startswith(told) for line in notes.open()), PATIENCE, f"task {number} runs")


def _environment(broker: Broker, directory: Path) -> dict[str, str]:
    """Tell the worker's application what it needs to know."""
    return {"AMPHORA_CHAOS_BROKER": broker.url, "AMPHORA_CHAOS_NOTES": str(directory)}


def _served(environment: dict[str, str]) -> dict[str, int]:
    """Ask the worker what its server has counted."""
    question = ["inspect", "amphora", "--json", "--timeout", "60", "--destination", NODE]
    with Program("-m", "celery", "-A", APPLICATION, *question, env=environment) as program:
        program.wait(PATIENCE)
        counts: dict[str, int] = json.loads(program.lines[-1])[NODE][SERVICE]
        return counts


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--restarts", type=int, default=50, help="how many (default: 50)")
    parser.add_argument("--in-flight", type=int, default=20, help="calls under way at once (default: 20)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
