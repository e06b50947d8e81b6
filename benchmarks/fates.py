"""Breaks something while each library makes calls, and counts what became of them."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psutil
from broker import Broker, BrokerNotStarted
from environments import NotInstalled, python_of
from peers.fates import TIMEOUT
from processes import PeerFailed, Server
from report import table

_HERE = Path(__file__).resolve().parent
_PEERS = ("amphora", "http", "celery", "nameko", "oslo", "aio_pika", "faststream")
_BEFORE = 2.0  # seconds of calls before the harm
_AWAY = 2.0  # of a server that is restarted
_BROKER_STARTS = 20.0  # so much longer are calls made where the broker has to start: it takes ten seconds and more


class Servers:
    """Two servers of a peer, which can be killed and started."""

    def __init__(self, peer: str, python: str, broker: Broker, stack: ExitStack) -> None:
        self._peer, self._python, self._broker, self._stack = peer, python, broker, stack
        self._running: list[Server] = []

    def start(self) -> None:
        server = Server(self._peer, self._broker.url, python=self._python, module="fates", role="serve")
        self._running.append(self._stack.enter_context(server))

    def kill_one(self) -> None:
        """`kill -9` with all its processes, and start another."""
        root = psutil.Process(self._running.pop(0).pid)
        for process in [*root.children(recursive=True), root]:
            process.kill()
        self.start()

    def restart_all(self) -> None:
        """Ask all to end (SIGTERM), wait until they have, and start as many again two seconds later."""
        ending, self._running = self._running, []
        for server in ending:
            psutil.Process(server.pid).terminate()
        for server in ending:
            server.stop()
        time.sleep(_AWAY)
        for _ in ending:
            self.start()


#: What is done, by what the table calls it.
Harm = Callable[[Servers, Broker], None]
HARMS: dict[str, Harm] = {
    "none": lambda _servers, _broker: None,
    "one of two servers killed": lambda servers, _broker: servers.kill_one(),
    "both servers restarted": lambda servers, _broker: servers.restart_all(),
    "connections closed": lambda _servers, broker: broker.close_connections(),
    "broker killed": lambda _servers, broker: broker.restart(),
}


@dataclass(frozen=True)
class Fate:
    """What became of one peer's calls under one harm.

    Attributes:
        outcomes: how many calls ended how: `result`, or the name of an exception; None where the client hung.
        longest: seconds of the longest call.
        last_result: seconds from the first call until the last result: who has come back has one at the end.
        runs: how often the function began.
        twice: how many requests it began for more than once.
        reason: why there are no outcomes.
    """

    peer: str
    harm: str
    outcomes: dict[str, int] | None
    longest: float = 0.0
    last_result: float = 0.0
    runs: int = 0
    twice: int = 0
    reason: str = ""

    def row(self) -> list[str]:
        if self.outcomes is None:
            return [self.harm, self.peer, "", self.reason, "", "", "", ""]
        failed = {name: count for name, count in self.outcomes.items() if name != "result"}
        how = ", ".join(f"{count} {name}" for name, count in sorted(failed.items(), key=lambda each: -each[1]))
        counts = (sum(self.outcomes.values()), sum(failed.values()))
        seconds = (f"{each:.1f}" for each in (self.longest, self.last_result))
        return [self.harm, self.peer, str(counts[0]), str(counts[1]), how, str(self.twice), *seconds]


def main() -> int:
    options = _parse()
    fates = []
    try:
        for peer in options.peers:
            python = python_of(peer, options.venvs)
            with Broker() as broker:
                fates += [_suffer(peer, name, python, broker, options.seconds) for name in options.harms]
    except (BrokerNotStarted, NotInstalled) as error:
        print(error, file=sys.stderr)
        return 1
    fates.sort(key=lambda fate: options.harms.index(fate.harm))
    head = ["harm", "library", "calls", "without result", "how", "run twice", "longest, s", "last result after, s"]
    text = table(head, [fate.row() for fate in fates])
    print(text)
    if options.markdown:
        options.markdown.write_text(text + "\n")
    return 0


def _suffer(peer: str, name: str, python: str, broker: Broker, seconds: float) -> Fate:
    """Start servers and a client of the peer, do the harm, and wait for the client's account."""
    print(f"{peer}: {name} ...", file=sys.stderr, flush=True)
    seconds += _BROKER_STARTS if name == "broker killed" else 0.0
    with ExitStack() as stack, tempfile.NamedTemporaryFile("r") as notes:
        os.environ["FATES_NOTES"] = notes.name
        servers = Servers(peer, python, broker, stack)
        try:
            for _ in range(2):
                servers.start()
        except PeerFailed as error:
            return Fate(peer, name, None, reason=str(error))
        command = [python, "-m", f"peers.{peer}.fates", "call", broker.url, str(seconds)]
        errors = stack.enter_context(tempfile.TemporaryFile("w+"))
        client = subprocess.Popen(command, cwd=_HERE, stdout=subprocess.PIPE, stderr=errors, text=True)
        stack.callback(client.kill)
        while not Path(notes.name).stat().st_size and client.poll() is None:
            time.sleep(0.05)
        time.sleep(_BEFORE)
        HARMS[name](servers, broker)
        try:
            line, _ = client.communicate(timeout=seconds + 3 * TIMEOUT)
            account = json.loads(line.splitlines()[-1])
        except (subprocess.TimeoutExpired, IndexError) as error:
            errors.seek(0)
            print(errors.read()[-2000:], file=sys.stderr)
            return Fate(peer, name, None, reason=f"the client did not end: {type(error).__name__}")
        runs = Counter(notes.read().split())
    twice = sum(count > 1 for count in runs.values())
    seen = account["longest"], account["last_result"]
    fate = Fate(peer, name, account["outcomes"], *seen, sum(runs.values()), twice)
    print(f"    {fate.row()[2:]}", file=sys.stderr, flush=True)
    return fate


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=8.0, help="of calls, for each harm (default: 8)")
    parser.add_argument("--peers", type=lambda given: given.split(","), default=list(_PEERS))
    parser.add_argument("--harms", type=lambda given: given.split(","), default=list(HARMS))
    parser.add_argument("--venvs", type=Path, default=_HERE / ".venvs", metavar="DIR", help="see compare.py")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there, too")
    options = parser.parse_args()
    for given, known in ((options.peers, _PEERS), (options.harms, HARMS)):
        if not set(given) <= set(known):
            parser.error(f"there are {', '.join(known)}, not {', '.join(set(given) - set(known))}")
    return options


if __name__ == "__main__":
    sys.exit(main())
