"""Calls the echo from many greenlets, one way or the other, and prints what it measured as a line of JSON.

Run with: `celery` or `amphora`, how many calls are in flight, and for how many seconds; 0 calls until SIGTERM, and
counts apart what is answered after SIGUSR1.
"""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import json
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable

import gevent
from gevent.event import Event

from side_by_side.app import TUNED, app, echo

_PAYLOAD = "x" * 100
#: Seconds that a call may take, over a restart of the broker and without one; after that, its answer is lost.
_PATIENT, _IMPATIENT = 30.0, 10.0
_WARM_UP = 1.0
#: Seconds until a greenlet whose call has failed makes its next one.
_AGAIN = 1.0


def caller_of(way: str, timeout: float) -> Callable[[], object]:
    """Return the call of one way."""
    if way == "amphora":
        client = app.amphora.client
        return lambda: client.call(timeout=timeout).echo(_PAYLOAD)
    if TUNED:
        # One reply queue for all greenlets.
        reply_to = app.backend.oid
        return lambda: echo.apply_async((_PAYLOAD,), reply_to=reply_to).get(timeout=timeout)
    return lambda: echo.delay(_PAYLOAD).get(timeout=timeout)


class Load:
    """Calls from so many greenlets at once, until it is told to end.

    Attributes:
        latencies: Seconds, of the calls that were answered.
        answered_before: How many were when `mark` was called last.
        lost: How many calls ended with which error.
    """

    def __init__(self, call: Callable[[], object], in_flight: int) -> None:
        self.latencies: list[float] = []
        self.answered_before = 0
        self.lost: Counter[str] = Counter()
        self.ending = Event()
        self._call = call
        self._greenlets = [gevent.spawn(self._work) for _ in range(in_flight)]

    def mark(self) -> None:
        """From now on, answers are counted apart."""
        self.answered_before = len(self.latencies)

    def join(self, timeout: float) -> None:
        """End, and wait until every call has its outcome."""
        self.ending.set()
        # Where a call does not come back at its own timeout either, it counts as lost like any other.
        gevent.joinall(self._greenlets, timeout=timeout + 5)
        for greenlet in self._greenlets:
            if not greenlet.dead:
                self.lost["never came back"] += 1
                greenlet.kill(block=False)

    def _work(self) -> None:
        while not self.ending.is_set():
            started = time.perf_counter()
            try:
                answer = self._call()
            except Exception as error:  # noqa: BLE001  (whatever a library raises, the call has failed)
                self.lost[type(error).__name__] += 1
                gevent.sleep(_AGAIN)
                continue
            if answer == _PAYLOAD:
                self.latencies.append(time.perf_counter() - started)
            else:
                self.lost["a wrong answer"] += 1


def main(way: str, in_flight: int, seconds: float) -> None:
    """Measure and print."""
    timeout = _IMPATIENT if seconds else _PATIENT
    call = caller_of(way, timeout)
    # Celery makes its one result consumer on the first call: many first calls at once make many of them.
    call()
    if seconds:
        warm_up = Load(call, in_flight)
        gevent.sleep(_WARM_UP)
        warm_up.join(timeout)
    load = Load(call, in_flight)
    gevent.signal_handler(signal.SIGTERM, load.ending.set)
    gevent.signal_handler(signal.SIGUSR1, load.mark)
    started = time.perf_counter()
    print("going", flush=True)
    load.ending.wait(seconds or None)
    # Before the stragglers: one that hangs until its timeout says nothing of the rate.
    per_second = len(load.latencies) / (time.perf_counter() - started)
    load.join(timeout)
    latencies = sorted(load.latencies)
    figures = {
        "p50_ms": 1000 * _percentile(latencies, 0.5),
        "p99_ms": 1000 * _percentile(latencies, 0.99),
        "per_second": per_second,
        "answered": len(latencies),
        "answered_after": len(latencies) - load.answered_before,
        "lost": load.lost,
    }
    print(json.dumps(figures), flush=True)


def _percentile(latencies: list[float], share: float) -> float:
    return latencies[min(int(len(latencies) * share), len(latencies) - 1)] if latencies else float("nan")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
    # Celery's result consumers may not end.
    sys.stdout.flush()
    gevent.get_hub().destroy()
