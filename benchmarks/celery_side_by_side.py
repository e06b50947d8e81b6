"""The same echo through `task.delay().get()` with rpc:// and through Amphora, in one and the same Celery worker."""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from broker import Broker, BrokerNotStarted

_HERE = Path(__file__).resolve().parent
_IN_FLIGHT = 100
_CLIENT = 240.0
#: Seconds under load before the broker goes, and after it has come back.
_BEFORE, _AFTER = 3.0, 10.0


@dataclass(frozen=True)
class Way:
    """One way to call: how Celery is set up, and what the client is told."""

    name: str
    setup: str
    client: str


WAYS = (
    Way("Celery, `delay().get()`, as it comes", setup="plain", client="celery"),
    Way("Celery, set up for speed", setup="fast", client="celery"),
    Way("Celery, set up for speed and against losses", setup="safe", client="celery"),
    Way("Amphora, in the first one's worker", setup="plain", client="amphora"),
)


@dataclass
class Figures:
    """What was measured of one way, one entry for each round."""

    p50_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)
    per_second: list[float] = field(default_factory=list)
    answered: list[int] = field(default_factory=list)
    answered_after: list[int] = field(default_factory=list)
    lost: Counter[str] = field(default_factory=Counter)


def main() -> int:
    """Measure, print, and return the exit status."""
    options = _parse()
    figures = {way: Figures() for way in WAYS}
    try:
        for number in range(1, options.rounds + 1):
            for way in WAYS:
                print(f"round {number} of {options.rounds}: {way.name}", file=sys.stderr)
                _measure(way, figures[way], options.seconds)
    except BrokerNotStarted as error:
        print(error, file=sys.stderr)
        return 1
    print(_table(figures))
    return 0


def _measure(way: Way, figures: Figures, seconds: float) -> None:
    """Measure one way once, on a broker and a worker of its own."""
    with Broker() as broker, tempfile.TemporaryFile("w+") as log:
        programs = Programs(way, broker, log)
        with programs.worker():
            sequential = programs.client(1, seconds)
            figures.p50_ms.append(sequential["p50_ms"])
            figures.p99_ms.append(sequential["p99_ms"])
            figures.per_second.append(programs.client(_IN_FLIGHT, seconds)["per_second"])
            restarted = programs.client_over_a_restart()
            figures.answered.append(restarted["answered"])
            figures.answered_after.append(restarted["answered_after"])
            figures.lost.update(restarted["lost"])


class Programs:
    """The worker and the clients of one measurement.

    Args:
        way: How to call.
        broker: Where.
        log: Takes what the programs complain of, which is much when the broker goes.
    """

    def __init__(self, way: Way, broker: Broker, log: IO[str]) -> None:
        self._way = way
        self._broker = broker
        self._log = log

    @contextmanager
    def worker(self) -> Iterator[None]:
        """Run the worker, as its user starts it, for the duration of a block."""
        options = ["-P", "gevent", "-c", str(_IN_FLIGHT), "--amphora", "-l", "ERROR"]
        process = self._start("celery", "-q", "-A", "side_by_side.app", "worker", *options)
        try:
            self._wait_for("ready", process)
            yield
        finally:
            process.kill()
            process.wait()

    def client(self, in_flight: int, seconds: float) -> dict[str, Any]:
        """Run a client to its end, and return what it measured."""
        return self._result(self._start("side_by_side.client", self._way.client, str(in_flight), str(seconds)))

    def client_over_a_restart(self) -> dict[str, Any]:
        """Run a client, kill the broker in the middle, start it again, and let the client go on for some seconds."""
        process = self._start("side_by_side.client", self._way.client, str(_IN_FLIGHT), "0")
        self._wait_for("going", process)
        time.sleep(_BEFORE)
        self._broker.restart()
        process.send_signal(signal.SIGUSR1)
        time.sleep(_AFTER)
        process.terminate()
        return self._result(process)

    def _start(self, *command: str) -> subprocess.Popen[str]:
        environment = os.environ | {"BENCH_BROKER": self._broker.url, "BENCH_CELERY": self._way.setup}
        return subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=_HERE,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    def _result(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        try:
            output, _ = process.communicate(timeout=_CLIENT)
        finally:
            process.kill()
        if not output:
            raise self._failure(process)
        figures: dict[str, Any] = json.loads(output.splitlines()[-1])
        return figures

    def _wait_for(self, line: str, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for said in process.stdout:
            if said.strip() == line:
                return
        raise self._failure(process)

    def _failure(self, process: subprocess.Popen[str]) -> RuntimeError:
        self._log.seek(0)
        return RuntimeError(f"{process.args} failed:\n{self._log.read()[-3000:]}")


def _table(figures: dict[Way, Figures]) -> str:
    base = figures[WAYS[0]]
    head = ["", "one at a time: p50", "p99", f"{_IN_FLIGHT} in flight", "broker killed: answered", "of these after it"]
    lines = [f"| {' | '.join([*head, 'lost'])} |", "|---|--:|--:|--:|--:|--:|---|"]
    for way, measured in figures.items():
        row = [
            way.name,
            _cell(measured.p50_ms, "ms", _median(base.p50_ms) / _median(measured.p50_ms)),
            _cell(measured.p99_ms, "ms", _median(base.p99_ms) / _median(measured.p99_ms)),
            _cell(measured.per_second, "calls/s", _median(measured.per_second) / _median(base.per_second)),
            f"{sum(measured.answered):,}",
            f"{sum(measured.answered_after):,}",
            ", ".join(f"{count} {error}" for error, count in measured.lost.most_common()) or "0",
        ]
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines)


def _cell(values: list[float], unit: str, times: float) -> str:
    """Write the median of all rounds, and how many times as good as the first way it is."""
    return f"{_median(values):,.1f} {unit} ({times:,.1f} times)"


def _median(values: list[float]) -> float:
    return statistics.median(values)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="medians are of so many (default: 3)")
    parser.add_argument("--seconds", type=float, default=5, help="for each measurement (default: 5)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
