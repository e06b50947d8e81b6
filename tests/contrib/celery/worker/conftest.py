"""Workers, the commands of Celery's program, and clients that call the workers' functions."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from amphora import AmqpRpcClient
from tests.acceptance.runs import Runs
from tests.conftest import StartProgram
from tests.support.endpoints import clients_of
from tests.support.processes import Program

APPLICATION = "tests.contrib.celery.worker.shop"
#: Nobody needs to know the other workers, and looking for them takes a second.
ALONE = ("--without-gossip", "--without-mingle")
#: Seconds. A busy machine takes its time to start a process.
START = 60.0


class NewClient(Protocol):
    """Make a client of the test's service, which stops with the test."""

    def __call__(self, broker_url: str, **options: Any) -> AmqpRpcClient: ...


class CeleryProgram(Protocol):
    """Start `celery -A shop *arguments` with the test's service."""

    def __call__(self, broker_url: str, *arguments: object, **settings: str) -> Program: ...


class StartWorker(Protocol):
    """Start `celery -A shop worker -P gevent --amphora`, and return when it serves."""

    def __call__(self, broker_url: str, *arguments: object) -> Program: ...


def environment(broker_url: str, service: str, runs: Runs) -> dict[str, str]:
    """Tell the application what it needs to know."""
    return {"SHOP_BROKER": broker_url, "SHOP_SERVICE": service, "SHOP_RUNS": str(runs.path)}


def wait_served(worker: Program) -> Program:
    """Wait until a worker takes calls, and return it."""
    worker.wait_for_line("is served: ", START)
    return worker


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    """What the workers' functions note."""
    return Runs(tmp_path / "runs")


@pytest.fixture
def celery(start_program: StartProgram, service: str, runs: Runs) -> CeleryProgram:
    def start(broker_url: str, *arguments: object, **settings: str) -> Program:
        env = environment(broker_url, service, runs) | settings
        return start_program("-m", "celery", "-A", APPLICATION, *arguments, env=env)

    return start


@pytest.fixture
def start_worker(celery: CeleryProgram) -> StartWorker:
    def start(broker_url: str, *arguments: object) -> Program:
        name = f"worker{os.urandom(4).hex()}@localhost"
        worker = celery(broker_url, "worker", "-P", "gevent", "--amphora", "-l", "INFO", "-n", name, *arguments, *ALONE)
        return wait_served(worker)

    return start


@pytest.fixture
def new_client(service: str) -> Iterator[NewClient]:
    with clients_of(service) as make:
        yield lambda broker_url, **options: make(broker_url=broker_url, **options)
