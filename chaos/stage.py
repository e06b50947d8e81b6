"""The broker, the servers and the clients of a chaos run, each process behind a proxy of its own."""

from __future__ import annotations

import json
import re
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import psutil
from gevent.lock import RLock

from tests.support.broker import Broker
from tests.support.processes import ROOT, Program
from tests.support.proxy import Proxy

SERVICE = "chaos"
LABELS = ("red", "green", "blue")
#: Seconds. Short ones, so that a connection that does not answer is noticed many times in a run.
HEARTBEAT = 4
#: Seconds that a server has for its end: its own grace period, and a farewell.
END = 40.0


@dataclass
class Incarnation:
    """One process of a member, from its start to its end; times are of `time.monotonic`."""

    name: str
    program: Program
    began: float
    ended: float | None = None
    killed: bool = False

    def counts(self) -> Counter[str]:
        """Return what the process has printed last."""
        line = next((line for line in reversed(self.program.lines) if line.startswith("reconnects=")), "")
        return Counter({name: int(value) for name, value in re.findall(r"(\w+)=(\d+)", line)})


class Member:
    """A server or a client that is started again whenever it ended, behind a proxy that stays.

    Args:
        name: ``server1``; its processes are ``server1.1``, ``server1.2`` and so on.
        proxy: Between it and the broker.
        start: Starts a process of this name.
    """

    def __init__(self, name: str, proxy: Proxy, start: Callable[[str], Program]) -> None:
        self.name = name
        self.proxy = proxy
        #: Who harms the process, or the connections, holds one of these for as long.
        self.process_lock, self.network_lock = RLock(), RLock()
        self.incarnations: list[Incarnation] = []
        self._start = start

    @property
    def present(self) -> Incarnation:
        """The latest process."""
        return self.incarnations[-1]

    @property
    def program(self) -> Program:
        """The latest process, as a program."""
        return self.present.program

    def start(self) -> None:
        """Start a process."""
        name = f"{self.name}.{len(self.incarnations) + 1}"
        self.incarnations.append(Incarnation(name, self._start(name), monotonic()))

    def kill(self) -> None:
        """Kill the process (`kill -9`)."""
        present = self.present
        present.killed, present.ended = True, monotonic()
        present.program.kill()

    def wait_ready(self) -> None:
        """Wait until the process reports: signals would end it before in the system's own way."""
        self.program.wait_for_line("^reconnects=", END)

    def finish(self, timeout: float) -> None:
        """Let a client make no more calls, and wait until each has its outcome."""
        self.wait_ready()
        self.program.send_signal(signal.SIGTERM)
        self.program.wait_for_line("^finished$", timeout)

    def end(self, timeout: float = END) -> int:
        """Let the process end in good order (SIGTERM); return what it ended with."""
        self.wait_ready()
        present = self.present
        # Before it has ended: nobody shall take it for a crash.
        present.ended = monotonic()
        code = present.program.terminate(timeout)
        present.ended = monotonic()
        return code

    def counts(self) -> Counter[str]:
        """Add up what all its processes have printed last."""
        return sum((incarnation.counts() for incarnation in self.incarnations), Counter())

    def memory(self) -> int:
        """Bytes of memory that the process takes."""
        return _memory(self.program.pid) if self.program.running else 0


class Stage:
    """All that takes part.

    Args:
        directory: For the broker and all notes.
        servers, clients: How many.
        greenlets: How many calls each client may have under way.
        timeout: Seconds that a call may take.
        seed: Of the clients' calls.
        queue_type: Of clients and servers.
    """

    def __init__(
        self,
        directory: Path,
        *,
        servers: int,
        clients: int,
        greenlets: int,
        timeout: float,
        seed: int,
        queue_type: str,
    ) -> None:
        self.directory = directory
        self.broker = Broker(directory)
        self.broker_lock = RLock()
        self._options = {"heartbeat": HEARTBEAT, "queue_type": queue_type}
        self._greenlets = greenlets
        self._timeout = timeout
        self._seed = seed
        self.servers = [self._member(f"server{number}", self._start_server) for number in range(1, servers + 1)]
        self.clients = [self._member(f"client{number}", self._start_client) for number in range(1, clients + 1)]
        self.members = [*self.servers, *self.clients]
        #: What went wrong that no note tells of.
        self.complaints: list[str] = []

    def replace_crashed(self) -> None:
        """Start a process again that ended on its own, and complain about it."""
        for member in self.members:
            present = member.present
            if present.ended is None and not present.program.running:
                present.ended, present.killed = monotonic(), True
                last = "\n".join(present.program.lines[-30:])
                self.complaints.append(f"{present.name} ended with {present.program.returncode}:\n{last}")
                member.start()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Start everything, and end everything after the block."""
        try:
            self.broker.start()
            for member in self.members:
                member.start()
            yield
        finally:
            for member in self.members:
                if member.incarnations:
                    member.program.close()
                member.proxy.close()
            self.broker.close()

    def heal(self) -> None:
        """Undo all harm: everything runs and is connected again, or will be soon."""
        self.broker.heal()
        for member in self.members:
            member.proxy.throttle(None)
            member.proxy.resume()
            member.proxy.accept()
            member.program.resume()
        self.replace_crashed()

    def counts(self) -> Counter[str]:
        """Add up what all processes have printed last: calls, outcomes, reconnects."""
        return sum((member.counts() for member in self.members), Counter())

    def under_way(self) -> int:
        """Return how many calls of the present clients had no outcome when they told last."""
        counts = [client.present.counts() for client in self.clients]
        return sum(each["calls"] - each["outcomes"] for each in counts)

    def memory(self) -> dict[str, float]:
        """Give the mebibytes of the broker, of a server and of a client (the largest of each)."""
        return {
            "broker": _memory(self.broker.pid) / 2**20,
            "server": max(member.memory() for member in self.servers) / 2**20,
            "client": max(member.memory() for member in self.clients) / 2**20,
        }

    def messages(self) -> dict[str, int]:
        """Give the number of messages in each queue that is not empty."""
        return {name: queue.messages for name, queue in self.broker.queues().items() if queue.messages}

    def _member(self, name: str, start: Callable[[str, Proxy], Program]) -> Member:
        proxy = Proxy(self.broker.port)
        return Member(name, proxy, lambda process: start(process, proxy))

    def _start_server(self, name: str, proxy: Proxy) -> Program:
        options = json.dumps(self._options)
        return Program(
            ROOT / "chaos" / "server.py", proxy.url, SERVICE, name, self.directory, ",".join(LABELS), options
        )

    def _start_client(self, name: str, proxy: Proxy) -> Program:
        # The next process of a member finds the response queue of the one before: nothing is left in it.
        options = json.dumps({**self._options, "uuid": name.partition(".")[0]})
        return Program(
            ROOT / "chaos" / "client.py",
            proxy.url,
            SERVICE,
            name,
            self.directory,
            ",".join(LABELS),
            f"{self._seed}-{name}",
            self._greenlets,
            self._timeout,
            options,
        )


def _memory(pid: int) -> int:
    return int(psutil.Process(pid).memory_info().rss)
