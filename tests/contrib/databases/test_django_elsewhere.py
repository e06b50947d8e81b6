"""Functions that use Django's databases in Celery workers and under `amphora serve` leave no connections behind."""

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from amphora import AmqpRpcClient
from tests.conftest import StartProgram
from tests.support.broker import Broker
from tests.support.endpoints import clients_of
from tests.support.eventually import wait_until
from tests.support.postgres import USER, Postgres
from tests.support.processes import ROOT

#: Seconds. A busy machine takes its time to start a process.
PATIENCE = 60.0

#: How many calls run at once: each has a greenlet, and a connection.
MANY = 30

APPLICATION = "tests.contrib.databases.shelf.celery"
WORKER = ("-m", "celery", "-A", APPLICATION, "worker", "-P", "gevent", "--amphora", "--without-gossip", "-l", "INFO")

#: Command line, what it writes when it serves, and a function.
PROGRAMS = [
    pytest.param(WORKER, "is served: ", "backend_pid", id="function in a Celery worker"),
    pytest.param(WORKER, "is served: ", "task_backend_pid", id="inline task in a Celery worker"),
    pytest.param(
        ("-m", "celery", "-A", APPLICATION, "amphora", "serve"), "is served: ", "backend_pid", id="celery amphora serve"
    ),
    pytest.param(
        ("-m", "amphora", "serve", "tests.contrib.databases.shelf.serving:server"),
        ": ready, ",
        "backend_pid",
        id="amphora serve",
    ),
]

Start = Callable[..., AmqpRpcClient]


@pytest.fixture
def database(postgres: Postgres) -> str:
    name = f"shelf_{uuid4().hex[:8]}"
    postgres.create_database(name)
    return name


@pytest.fixture
def start(
    start_program: StartProgram, broker: Broker, postgres: Postgres, database: str, service: str, tmp_path: Path
) -> Iterator[Start]:
    """Start a program that serves, and return a client of its service."""
    with clients_of(service) as new_client:

        def begin(command: tuple[str, ...], sign: str, *, max_age: int) -> AmqpRpcClient:
            environment = {
                "PYTHONPATH": str(ROOT),
                "DJANGO_SETTINGS_MODULE": "tests.contrib.databases.shelf.settings",
                "SHELF_BROKER": broker.url,
                "SHELF_SERVICE": service,
                "SHELF_DATABASE": database,
                "SHELF_USER": USER,
                "SHELF_HOST": postgres.host,
                "SHELF_MAX_AGE": str(max_age),
            }
            start_program(*command, env=environment).wait_for_line(sign, PATIENCE)
            return new_client(broker_url=broker.url)

        yield begin


def call_at_once(client: AmqpRpcClient, function: str) -> list[int]:
    results = [client.defer(function_name=function)(0.2) for _ in range(MANY)]
    return [result.get(timeout=PATIENCE) for result in results]


@pytest.mark.parametrize(("command", "sign", "function"), PROGRAMS)
@pytest.mark.parametrize("max_age", [pytest.param(0, id="one a request"), pytest.param(1, id="kept for a second")])
def test_no_connections_stay_behind(
    start: Start,
    postgres: Postgres,
    database: str,
    command: tuple[str, ...],
    sign: str,
    function: str,
    max_age: int,
) -> None:
    client = start(command, sign, max_age=max_age)

    used = set(call_at_once(client, function))
    # (One that is kept serves another request, where the first ones are finished before the last ones begin.)
    assert len(used) == MANY if max_age == 0 else 1 <= len(used) <= MANY
    # The idle process has none.
    wait_until(lambda: postgres.connections(database) == 0, PATIENCE)


@pytest.mark.parametrize(("command", "sign", "function"), PROGRAMS)
def test_connections_that_the_database_has_ended_fail_no_call(
    start: Start, postgres: Postgres, database: str, command: tuple[str, ...], sign: str, function: str
) -> None:
    client = start(command, sign, max_age=600)
    before = set(call_at_once(client, function))
    assert postgres.connections(database) == len(before)

    postgres.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", database)
    wait_until(lambda: postgres.connections(database) == 0, PATIENCE)

    assert before.isdisjoint(call_at_once(client, function))
