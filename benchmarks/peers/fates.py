"""What `fates.py` has each peer do: a function that notes its runs, and a client that counts outcomes."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from uuid import uuid4

#: Seconds that the function takes, and that a call may take.
WORK_SECONDS, TIMEOUT = 0.2, 40.0
#: How many callers there are, and how many requests a server runs at once.
CALLERS, CONCURRENCY = 20, 20
_PAUSE = 0.1  # of a caller whose call has failed


def note_run(number: str) -> None:
    """Note in the file that `FATES_NOTES` names that a run begins; one write, so that a kill loses none."""
    notes = os.open(os.environ["FATES_NOTES"], os.O_WRONLY | os.O_APPEND)
    os.write(notes, f"{number}\n".encode())
    os.close(notes)


class Account:
    """Counts what became of calls, until its time is over; for many threads, greenlets or tasks.

    Args:
        seconds: no further call begins after them.
    """

    def __init__(self, seconds: float) -> None:
        self._began = time.monotonic()
        self._until = self._began + seconds
        self._prefix = uuid4().hex[:8]
        self._numbers = itertools.count()
        self._outcomes: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._longest = 0.0
        self._last_result = 0.0

    def __iter__(self) -> Account:
        return self

    def __next__(self) -> str:
        """The number of the next call."""
        if time.monotonic() > self._until:
            raise StopIteration
        return f"{self._prefix}.{next(self._numbers)}"

    def note(self, number: str, started: float, answer: object) -> None:
        """Note the answer, or the exception, of a call."""
        failed = isinstance(answer, BaseException)
        outcome = type(answer).__name__ if failed else "result" if answer == number else "another result"
        with self._lock:
            self._outcomes[outcome] += 1
            self._longest = max(self._longest, time.monotonic() - started)
            if outcome == "result":
                self._last_result = time.monotonic() - self._began

    def print(self) -> None:
        found = {"outcomes": self._outcomes, "longest": self._longest, "last_result": self._last_result}
        print(json.dumps(found), flush=True)


def call_in_threads(new_caller: Callable[[], Callable[[str], object]], seconds: float) -> None:
    """Call from threads, or greenlets where the program is patched.

    Args:
        new_caller: makes what a thread calls with a number, and again after a call of it has failed.
        seconds: for how long.
    """
    account = Account(seconds)

    def work() -> None:
        call = new_caller()
        for number in account:
            started = time.monotonic()
            try:
                account.note(number, started, call(number))
            except Exception as error:  # noqa: BLE001  whatever it is, it is counted
                account.note(number, started, error)
                time.sleep(_PAUSE)
                call = _again(new_caller) or call

    threads = [threading.Thread(target=work, daemon=True) for _ in range(CALLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    account.print()


async def call_in_tasks(call: Callable[[str], Awaitable[object]], seconds: float) -> None:
    """Call from tasks of asyncio."""
    account = Account(seconds)

    async def work() -> None:
        for number in account:
            started = time.monotonic()
            try:
                account.note(number, started, await asyncio.wait_for(call(number), TIMEOUT))
            except Exception as error:  # noqa: BLE001  whatever it is, it is counted
                account.note(number, started, error)
                await asyncio.sleep(_PAUSE)

    await asyncio.gather(*(work() for _ in range(CALLERS)))
    account.print()


def _again(new_caller: Callable[[], Callable[[str], object]]) -> Callable[[str], object] | None:
    """Make a new caller, where the broker lets it."""
    try:
        return new_caller()
    except Exception as error:  # noqa: BLE001  the old one is tried again, whose failure is counted
        print(f"no new caller yet: {error!r}", file=sys.stderr)
        return None


def arguments() -> tuple[str, str, float]:
    """The command line: `serve` or `call`, the broker's URL, and for how many seconds to call."""
    role, broker_url, *seconds = sys.argv[1:]
    return role, broker_url, float(seconds[0]) if seconds else 0.0
