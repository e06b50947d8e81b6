"""Clients and servers of the acceptance tests, which end with the test."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import gevent
import pytest

from amphora import AmqpRpcClient, AmqpRpcServer
from tests.acceptance.runs import Runs
from tests.conftest import StartProgram
from tests.support.endpoints import clients_of, servers_of
from tests.support.processes import Program

_NOTING_SERVER = Path(__file__).with_name("noting_server.py")


class NewClient(Protocol):
    """Make a client of the test's service, of `cls` if given."""

    def __call__(self, broker_url: str, *, cls: type[AmqpRpcClient] = ..., **options: Any) -> AmqpRpcClient: ...


class NewServer(Protocol):
    """Make a server of the test's service with some functions, and start it in this process."""

    def __call__(
        self, broker_url: str, *functions: Callable[..., Any], cls: type[AmqpRpcServer] = ..., **options: Any
    ) -> AmqpRpcServer: ...


class StartServer(Protocol):
    """Start a server of the test's service in a process of its own; it is connected when this returns."""

    def __call__(self, broker_url: str, **options: Any) -> Program: ...


class KeepServerRunning(Protocol):
    """Start a server as `StartServer` does, and again whenever it ends, until the end of the test."""

    def __call__(self, broker_url: str, **options: Any) -> None: ...


@pytest.fixture
def new_client(service: str) -> Iterator[NewClient]:
    with clients_of(service) as make:
        yield lambda broker_url, **options: make(broker_url=broker_url, **options)


@pytest.fixture
def new_server(service: str) -> Iterator[NewServer]:
    with servers_of(service) as make:
        yield lambda broker_url, *functions, **options: make(*functions, broker_url=broker_url, **options)


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    """The notes of the servers that `start_server` starts."""
    return Runs(tmp_path / "runs")


@pytest.fixture
def keep_server_running(service: str, start_program: StartProgram, runs: Runs) -> Iterator[KeepServerRunning]:
    keepers: list[gevent.Greenlet[..., Any]] = []

    def keep(broker_url: str, **options: Any) -> None:
        def start_again_and_again() -> None:
            while True:
                program = start_program(_NOTING_SERVER, broker_url, service, runs.path, json.dumps(options))
                program.wait(timeout=120)

        keepers.append(gevent.spawn(start_again_and_again))

    yield keep
    gevent.killall(keepers)


@pytest.fixture
def start_server(service: str, start_program: StartProgram, runs: Runs) -> StartServer:
    def start(broker_url: str, **options: Any) -> Program:
        program = start_program(_NOTING_SERVER, broker_url, service, runs.path, json.dumps(options))
        program.wait_for_line("ready")
        return program

    return start
