"""Django, Celery and Amphora in one project: the endpoints are the same ones."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from tests.conftest import StartProgram
from tests.support.broker import Broker
from tests.support.processes import ROOT

PROJECT = Path(__file__).parent / "django_project"

#: Seconds. A busy machine takes its time to start a process.
PATIENCE = 60.0

IDENTITY = """
import json

# A module that is loaded before Django's apps are, and adds a function.
from store.celery import app
app.amphora.server.add_function(lambda: "early", name="early")
before = app.amphora.server

import django
django.setup()
from amphora.contrib.django import client, clients, server, servers

seen = {
    "server": app.amphora.server is server,
    "client": app.amphora.client is client,
    "fanout": [app.amphora.fanout_server is servers["news"], app.amphora.fanout_client is clients["news"]],
}
import stock.tasks
before.add_function(lambda: "late", name="late")
seen["functions"] = sorted(server.functions)
seen["tasks"] = sorted(name for name in app.tasks if not name.startswith("celery."))
seen["connected"] = [each.made for each in (server, client)]
print(json.dumps(seen))
"""


@pytest.fixture
def environment(broker: Broker, service: str, tmp_path: Path) -> dict[str, str]:
    return {
        "PYTHONPATH": f"{ROOT}:{PROJECT}",
        "DJANGO_SETTINGS_MODULE": "store.settings",
        "STORE_BROKER": broker.url,
        "STORE_SERVICE": service,
        "STORE_DIRECTORY": str(tmp_path),
    }


@pytest.fixture
def celery(broker: Broker, service: str) -> Iterator[Any]:
    """Send tasks to the project."""
    app = Celery("tests", broker=broker.url, backend="rpc://", set_as_current=False)
    app.conf.task_default_queue = service
    yield app
    app.close()


def test_server_and_client_are_those_of_django(
    start_program: StartProgram, environment: dict[str, str], service: str
) -> None:
    program = start_program("-c", IDENTITY, env=environment)

    assert program.wait(PATIENCE) == 0, program.output
    assert json.loads(program.lines[-1]) == {
        "server": True,
        "client": True,
        "fanout": [True, True],
        "functions": ["count", "early", "headers", "late", "order", "query", "total"],
        "tasks": [
            *(f"amphora.{service}.{name}" for name in ("count", "early", "headers", "late", "order", "query")),
            "stock.tasks.label",
            "stock.tasks.pack",
            "stock.tasks.report",
            "stock.tasks.total",
        ],
        "connected": [False, False],
    }


def test_a_worker_calls_what_runserver_rpc_serves(
    start_program: StartProgram, environment: dict[str, str], service: str, celery: Any
) -> None:
    serving = start_program(PROJECT / "manage.py", "runserver_rpc", env=environment)
    worker = start_program(
        *(
            "-m",
            "celery",
            "-A",
            "store",
            "worker",
            "-l",
            "INFO",
            "-P",
            "prefork",
            "-c",
            "1",
            "--without-gossip",
            "--without-mingle",
        ),
        env=environment,
    )
    worker.wait_for_line("ready", PATIENCE)

    report = celery.send_task("stock.tasks.report", [["apple", "pear"]]).get(timeout=PATIENCE)
    counted = celery.send_task(f"amphora.{service}.count", ["apple"]).get(timeout=PATIENCE)

    assert report == {"same": True, "client": "ThreadedClient", "total": 9, "caller": True}
    assert counted == 5
    assert worker.terminate(PATIENCE) == 0
    assert serving.terminate(PATIENCE) == 0
    assert "Traceback" not in worker.output + serving.output
