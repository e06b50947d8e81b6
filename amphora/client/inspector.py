"""`Inspector`: asks all servers of a service about themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from time import time
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from amphora.client.answers import OddAnswer, finite, flag, items, mapping, text, whole
from amphora.durations import Histogram
from amphora.endpoint.health import Health
from amphora.exceptions import WrongRequest, WrongResult
from amphora.logs.note_log import NoteLogger
from amphora.protocol.messages import Failure, Result
from amphora.protocol.names import RESERVED_PREFIX
from amphora.value_checks import seconds

__all__ = ["Answer", "Counts", "Inspector", "RemoteFunction", "ServerClock", "ServerHealth", "ServerInfo"]

logger = NoteLogger(__name__)

Made = TypeVar("Made")

#: Servers of which is remembered whose answers were left out, and how far their clocks are ahead.
_REMEMBERED = 1000

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
class ServerClock:
    """The clock of a server that answered; see `Inspector.clocks`.

    Attributes:
        host (str): Name of the machine.
        pid (int): Process id there.
        ahead (float): Seconds by which its clock is ahead of this machine's, to half a round trip.
    """

    host: str
    pid: int
    ahead: float


@dataclass(frozen=True, slots=True)
class RemoteFunction:
    """A function of a service; see `Inspector.functions`.

    Attributes:
        name (str): Its remote name.
        signature (str): Its parameters, such as ``(x, y=1)``; ``(...)`` where they are unknown.
        doc (str): Its docstring, of 4000 characters at most; empty if it has none.
        module (str): Where it is defined; empty if unknown.
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

    The number of servers is unknown: every method waits for its whole ``timeout``, unless it is told how many
    answers are enough.

    Args:
        gather: Calls a reserved function of all servers; returns the answers that came within the timeout.
    """

    def __init__(self, gather: Callable[[str, float, int | None, Counts], list[Answer]]) -> None:
        self._gather = gather
        self._left_out: dict[str, str] = {}
        self._clocks: dict[str, ServerClock] = {}

    @property
    def left_out(self) -> Mapping[str, str]:
        """Servers whose last answer had a value that no server gives, by uuid, and which value that was.

        Such an answer is left out of what the methods return, and counts for no ``limit``. The uuid is that in the
        answer: any program that may publish to the response exchange can answer.
        """
        return MappingProxyType(dict(self._left_out))

    @property
    def clocks(self) -> Mapping[str, ServerClock]:
        """Clocks of the servers that have answered, by uuid; without those that did not tell (an older Amphora)."""
        return MappingProxyType(dict(self._clocks))

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

        return list(self._ask("health", timeout, limit, _server_health, counts))

    def run_times(self, timeout: float = 1.0, limit: int | None = None) -> dict[str, dict[str, Histogram]]:
        """Return `AmqpRpcServer.run_times` of every server that tells them, by its uuid.

        Args:
            timeout: Seconds to wait for answers.
            limit: How many are enough; None to wait for the whole time.

        Raises:
            BrokerError: The broker refuses the client.
        """
        found = self._ask("stats", timeout, limit, _run_times)
        return {uuid: run_times for uuid, run_times in found if run_times is not None}

    def _ask(
        self,
        question: str,
        timeout: float,
        limit: int | None,
        make: Callable[[Mapping[str, Any], float], Made],
        counts: Callable[[Made], bool] | None = None,
    ) -> Iterator[Made]:
        raised: list[Exception] = []

        def is_wanted(outcome: Result | Failure) -> bool:
            # Called by the greenlet that owns the connection: what `counts` raises is for the caller.
            made = self._understood(question, Answer(outcome, 0.0), make)
            try:
                return made is not None and (counts is None or counts(made))
            except Exception as error:  # noqa: BLE001  (a function of the user)
                raised.append(error)
                return False

        asked = time()
        name = f"{RESERVED_PREFIX}{question}"
        answers = self._gather(name, seconds("timeout", timeout), limit, is_wanted)
        if raised:
            raise raised[0]
        for answer in answers:
            made = self._understood(question, answer, make)
            if made is not None:
                self._note_clock(asked, answer)
                yield made

    def _understood(
        self, question: str, answer: Answer, make: Callable[[Mapping[str, Any], float], Made]
    ) -> Made | None:
        """Return what an answer says; None for one that cannot be understood."""
        if not isinstance(answer.outcome, Result):
            error = answer.outcome.error
            if isinstance(error, WrongResult) or (isinstance(error, WrongRequest) and question == "ping"):
                # An answer of other keys, or a server that takes this client's question for one.
                self._leave_out("?", question, str(error))
            # Else that of an older Amphora, which does not know the question.
            return None
        value = answer.outcome.value
        uuid = value.get("uuid") if isinstance(value, dict) else None
        whose = uuid if isinstance(uuid, str) and len(uuid) < 256 else "?"
        try:
            made = make(mapping(value), answer.elapsed)
        except OddAnswer as error:
            self._leave_out(whose, question, str(error))
            return None
        return made

    def _leave_out(self, whose: str, question: str, why: str) -> None:
        if whose in self._left_out or len(self._left_out) < _REMEMBERED:
            self._left_out[whose] = f"{question}: {why}"
        logger.warning("an answer of %r to %r is left out: %s", whose, question, why, once=(id(self), whose, question))

    def _note_clock(self, asked: float, answer: Answer) -> None:
        value = answer.outcome.value if isinstance(answer.outcome, Result) else {}
        if "now" not in value or "host" not in value:
            return
        try:
            uuid, host, pid = text(value, "uuid"), text(value, "host"), whole(value, "pid")
            ahead = _clock_ahead(asked, value, answer.elapsed)
        except OddAnswer:
            return
        if ahead is not None and (uuid in self._clocks or len(self._clocks) < _REMEMBERED):
            self._clocks[uuid] = ServerClock(host, pid, ahead)


def _server_info(asked: float, value: Mapping[str, Any], elapsed: float) -> ServerInfo:
    return ServerInfo(
        uuid=text(value, "uuid"),
        host=text(value, "host"),
        pid=whole(value, "pid"),
        version=text(value, "version"),
        started=finite(value, "started"),
        concurrency=whole(value, "concurrency"),
        round_trip=elapsed,
        clock_ahead=_clock_ahead(asked, value, elapsed),
    )


def _clock_ahead(asked: float, value: Mapping[str, Any], elapsed: float) -> float | None:
    # It looked at its clock half-way through, as far as can be known.
    return None if "now" not in value else finite(value, "now") - (asked + elapsed / 2)


def _functions(value: Mapping[str, Any], elapsed: float) -> tuple[str, list[RemoteFunction]]:  # noqa: ARG001
    uuid = text(value, "uuid")
    described = [mapping(each, "a function") for each in items(value.get("functions"), "functions")]
    return uuid, [
        RemoteFunction(text(each, "name"), text(each, "signature"), text(each, "doc"), text(each, "module"), (uuid,))
        for each in described
    ]


def _server_health(value: Mapping[str, Any], elapsed: float) -> ServerHealth:
    return ServerHealth(
        uuid=text(value, "uuid"),
        host=text(value, "host"),
        pid=whole(value, "pid"),
        health=Health(
            connected=flag(value, "connected"),
            consuming=flag(value, "consuming"),
            blocked=flag(value, "blocked"),
            loop_lag=finite(value, "loop_lag"),
        ),
        round_trip=elapsed,
    )


def _stats(value: Mapping[str, Any], elapsed: float) -> tuple[str, dict[str, int]]:  # noqa: ARG001
    counts = mapping(value.get("stats"), "stats")
    return text(value, "uuid"), {name: whole(counts, name) for name in counts}


def _run_times(value: Mapping[str, Any], elapsed: float) -> tuple[str, dict[str, Histogram] | None]:  # noqa: ARG001
    if "run_times" not in value:
        # An older Amphora.
        return text(value, "uuid"), None
    told = mapping(value["run_times"], "run_times")
    return text(value, "uuid"), {name: _histogram(each) for name, each in told.items()}


def _histogram(value: Any) -> Histogram:
    told = mapping(value, "a histogram")
    finite(told, "total")
    for bucket in items(told.get("buckets"), "buckets"):
        if len(items(bucket, "a bucket")) != 2:
            raise OddAnswer("a bucket is not a pair")
        bound, number = bucket
        whole({"number": number}, "number")
        if bound is not None:
            finite({"bound": bound}, "bound")
    return Histogram.decode(told)
