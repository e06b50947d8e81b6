"""`Inspector`: asks all servers of a service about themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from time import time
from typing import Any, NamedTuple, TypeVar

from amphora.durations import Histogram
from amphora.health import Health
from amphora.protocol.messages import Failure, Result
from amphora.protocol.names import RESERVED_PREFIX
from amphora.settings import seconds

__all__ = ["Answer", "Counts", "Inspector", "RemoteFunction", "ServerHealth", "ServerInfo"]

Made = TypeVar("Made")

#: Tells whether an answer is one of those that are waited for.
Counts = Callable[[Result | Failure], bool]


class Answer(NamedTuple):
    """A server's answer.

    Attributes:
        outcome: What it says.
        elapsed: Seconds from the call until it came.
    """

    outcome: Result | Failure
    elapsed: float


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """A server that answered; see `Inspector.ping`.

    Attributes:
        uuid (str): Its identifier.
        host (str): Name of the machine.
        pid (int): Process id there.
        version (str): Version of Amphora.
        started (float): When it was made (`time.time` of its machine).
        concurrency (int): How many requests it runs at the same time.
        round_trip (float): Seconds from the question to its answer.
        clock_ahead (float | None): Seconds by which its clock is ahead of this machine's, to half a round trip; None
            where it does not tell.
    """

    uuid: str
    host: str
    pid: int
    version: str
    started: float
    concurrency: int
    round_trip: float
    clock_ahead: float | None = None


@dataclass(frozen=True, slots=True)
class RemoteFunction:
    """A function of a service; see `Inspector.functions`.

    Attributes:
        name (str): Its remote name.
        signature (str): Its parameters, such as ``(x, y=1)``; ``(...)`` where nobody knows them.
        doc (str): Its docstring, of 4000 characters at the most; empty if it has none.
        module (str): Where it is defined; empty if nobody knows.
        servers (tuple[str, ...]): Uuids of the servers that have it.
    """

    name: str
    signature: str
    doc: str
    module: str
    servers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ServerHealth:
    """How a server is that answered; see `Inspector.health`.

    Attributes:
        uuid (str): Its identifier.
        host (str): Name of the machine.
        pid (int): Process id there.
        health (Health): How it is.
        round_trip (float): Seconds from the question to its answer.
    """

    uuid: str
    host: str
    pid: int
    health: Health
    round_trip: float


class Inspector:
    """Asks all servers of a service at once; see `AmqpRpcClient.inspect`.

    Nobody knows how many servers there are: every method waits for its whole ``timeout``, unless it is told how many
    answers are enough.

    Args:
        gather: Calls a reserved function of all servers; returns the answers that came within the timeout.
    """

    def __init__(self, gather: Callable[[str, float, int | None, Counts], list[Answer]]) -> None:
        self._gather = gather

    def ping(self, timeout: float = 1.0, limit: int | None = None) -> list[ServerInfo]:
        """Return the servers that answer, in the order of their answers.

        Args:
            timeout: Seconds to wait for answers.
            limit: How many are enough; None to wait for the whole time.

        Raises:
            BrokerError: The broker refuses the client.
        """
        return list(self._ask("ping", timeout, limit, partial(_server_info, time())))

    def functions(self, timeout: float = 1.0, limit: int | None = None) -> dict[str, RemoteFunction]:
        """Return the functions of the service by name, as the first server describes each.

        Args:
            timeout: Seconds to wait for answers.
            limit: How many servers are enough; None to wait for the whole time.

        Raises:
            BrokerError: The broker refuses the client.
        """
        found: dict[str, RemoteFunction] = {}
        for uuid, described in self._ask("functions", timeout, limit, _functions):
            for each in described:
                known = found.get(each.name, each)
                servers = (*(known.servers if each.name in found else ()), uuid)
                found[each.name] = RemoteFunction(known.name, known.signature, known.doc, known.module, servers)
        return dict(sorted(found.items()))

    def stats(self, timeout: float = 1.0, limit: int | None = None) -> dict[str, dict[str, int]]:
        """Return `AmqpRpcServer.stats` of every server, by its uuid.

        Args:
            timeout: Seconds to wait for answers.
            limit: How many are enough; None to wait for the whole time.

        Raises:
            BrokerError: The broker refuses the client.
        """
        return dict(self._ask("stats", timeout, limit, _stats))

    def health(
        self,
        timeout: float = 1.0,
        limit: int | None = None,
        counts: Callable[[ServerHealth], bool] | None = None,
    ) -> list[ServerHealth]:
        """Return how the servers are, in the order of their answers.

        A server that cannot reach the broker, or whose event loop hangs, does not answer; nor does one of an Amphora
        that does not know the question.

        Args:
            timeout: Seconds to wait for answers.
            limit: How many are enough; None to wait for the whole time.
            counts: Tells which answers count for that, such as ``lambda server: server.health.ready``; None for all.

        Raises:
            BrokerError: The broker refuses the client.
        """

        def is_wanted(outcome: Result | Failure) -> bool:
            return counts is None or any(map(counts, _understood([Answer(outcome, 0.0)], _server_health)))

        return list(self._ask("health", timeout, limit, _server_health, is_wanted))

    def run_times(self, timeout: float = 1.0, limit: int | None = None) -> dict[str, dict[str, Histogram]]:
        """Return `AmqpRpcServer.run_times` of every server that tells them, by its uuid.

        Args:
            timeout: Seconds to wait for answers.
            limit: How many are enough; None to wait for the whole time.

        Raises:
            BrokerError: The broker refuses the client.
        """
        return dict(self._ask("stats", timeout, limit, _run_times))

    def _ask(
        self,
        question: str,
        timeout: float,
        limit: int | None,
        make: Callable[[Any, float], Made],
        counts: Counts = lambda outcome: True,  # noqa: ARG005  (all of them do)
    ) -> Iterator[Made]:
        question = f"{RESERVED_PREFIX}{question}"
        return _understood(self._gather(question, seconds("timeout", timeout), limit, counts), make)


def _understood(answers: Iterable[Answer], make: Callable[[Any, float], Made]) -> Iterator[Made]:
    """Yield what the answers say; what cannot be understood comes from no server of ours, and is left out."""
    for answer in answers:
        if isinstance(answer.outcome, Result):
            try:
                made = make(answer.outcome.value, answer.elapsed)
            except (KeyError, TypeError, ValueError):
                continue
            yield made


def _server_info(asked: float, value: Any, elapsed: float) -> ServerInfo:
    return ServerInfo(
        uuid=str(value["uuid"]),
        host=str(value["host"]),
        pid=int(value["pid"]),
        version=str(value["version"]),
        started=float(value["started"]),
        concurrency=int(value["concurrency"]),
        round_trip=elapsed,
        clock_ahead=_clock_ahead(asked, value, elapsed),
    )


def _clock_ahead(asked: float, value: Any, elapsed: float) -> float | None:
    # It looked at its clock half-way through, as far as anybody knows.
    return None if "now" not in value else float(value["now"]) - (asked + elapsed / 2)


def _functions(value: Any, elapsed: float) -> tuple[str, list[RemoteFunction]]:  # noqa: ARG001
    uuid = str(value["uuid"])
    return uuid, [
        RemoteFunction(str(each["name"]), str(each["signature"]), str(each["doc"]), str(each["module"]), (uuid,))
        for each in value["functions"]
    ]


def _server_health(value: Any, elapsed: float) -> ServerHealth:
    return ServerHealth(
        uuid=str(value["uuid"]),
        host=str(value["host"]),
        pid=int(value["pid"]),
        health=Health(
            connected=bool(value["connected"]),
            consuming=bool(value["consuming"]),
            blocked=bool(value["blocked"]),
            loop_lag=float(value["loop_lag"]),
        ),
        round_trip=elapsed,
    )


def _stats(value: Any, elapsed: float) -> tuple[str, dict[str, int]]:  # noqa: ARG001
    return str(value["uuid"]), {str(name): int(count) for name, count in value["stats"].items()}


def _run_times(value: Any, elapsed: float) -> tuple[str, dict[str, Histogram]]:  # noqa: ARG001
    return str(value["uuid"]), {str(name): Histogram.decode(each) for name, each in value["run_times"].items()}
