"""`opentelemetry-instrument` without its switch for gevent: programs patch in time, or say what to do."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from port_for import get_port

from amphora import AmqpRpcClient
from tests.conftest import StartProgram
from tests.contrib.observability.test_one_trace import COMMAND, PATIENCE, PROJECT
from tests.support.broker import Broker
from tests.support.processes import ROOT

SWITCH = "OTEL_PYTHON_AUTO_INSTRUMENTATION_EXPERIMENTAL_GEVENT_PATCH"

WORKER = ("-m", "celery", "-A", "store", "worker", "-P", "gevent", "-l", "INFO", "--without-gossip", "--without-mingle")


@pytest.fixture
def environment(broker: Broker, service: str, tmp_path: Path) -> dict[str, str]:
    return {
        "PYTHONPATH": f"{ROOT}:{PROJECT}",
        "DJANGO_SETTINGS_MODULE": "store.settings",
        "STORE_BROKER": broker.url,
        "STORE_SERVICE": service,
        "STORE_DIRECTORY": str(tmp_path),
        "OTEL_TRACES_EXPORTER": "none",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
    }


@pytest.fixture
def client(broker: Broker, service: str) -> Iterator[AmqpRpcClient]:
    with AmqpRpcClient(service, broker_url=broker.url, timeout=PATIENCE) as made:
        yield made


@pytest.mark.parametrize(
    ("command", "sign"),
    [
        pytest.param((PROJECT / "manage.py", "runserver_rpc"), "default: ready", id="runserver_rpc"),
        pytest.param(("-m", "celery", "-A", "store", "amphora", "serve"), "is served", id="celery amphora serve"),
    ],
)
def test_what_runs_itself_again_is_patched_in_time(
    start_program: StartProgram,
    environment: dict[str, str],
    client: AmqpRpcClient,
    command: tuple[object, ...],
    sign: str,
) -> None:
    program = start_program(COMMAND, sys.executable, *command, env=environment)
    program.wait_for_line(sign, PATIENCE)

    # Several greenlets at once.
    results = [client.defer.query() for _ in range(20)]

    assert [result.get(timeout=PATIENCE) for result in results] == [42] * 20
    assert program.terminate(PATIENCE) == 0


@pytest.mark.parametrize("options", [pytest.param((), id="tasks"), pytest.param(("--amphora",), id="tasks and calls")])
@pytest.mark.expects_errors("OTEL_PYTHON_AUTO_INSTRUMENTATION_EXPERIMENTAL_GEVENT_PATCH")
def test_a_worker_with_django_refuses_to_start_with_what_to_do(
    start_program: StartProgram, environment: dict[str, str], options: tuple[str, ...]
) -> None:
    worker = start_program(COMMAND, sys.executable, *WORKER, *options, env=environment)

    assert worker.wait(PATIENCE) != 0
    assert f"Set the environment variable {SWITCH}=patch_all" in worker.output


@pytest.mark.expects_errors(
    "Exception in ",
    "OTEL_PYTHON_AUTO_INSTRUMENTATION_EXPERIMENTAL_GEVENT_PATCH",
    "Shutting down: Master",
    "Worker failed to boot",
    "exited with code 3",
)
def test_gunicorn_refuses_to_start_with_what_to_do(start_program: StartProgram, environment: dict[str, str]) -> None:
    application = "django.core.wsgi:get_wsgi_application()"
    options = ("-k", "gevent", "-b", f"127.0.0.1:{get_port(None)}", application)

    gunicorn = start_program(COMMAND, sys.executable, "-m", "gunicorn", *options, env=environment)

    assert gunicorn.wait(PATIENCE) != 0
    assert f"Set the environment variable {SWITCH}=patch_all" in gunicorn.output


PRELOADED = """
import django
django.setup()
from django.db import connection

from gevent import monkey
monkey.patch_all()
import gevent
from amphora.contrib.django.process import check_process

def query():
    with connection.cursor() as cursor:
        cursor.execute("SELECT 42")
        gevent.sleep(0)
        return cursor.fetchone()[0], id(connection.connection)

check_process("default")
ends = [gevent.spawn(query) for _ in range(3)]
found = [end.get() for end in ends]
print([answer for answer, _ in found], len({connection for _, connection in found}))
"""


def test_a_process_that_patches_after_its_application_was_loaded_can_query(
    start_program: StartProgram, environment: dict[str, str]
) -> None:
    program = start_program("-c", PRELOADED, env=environment)

    assert program.wait(PATIENCE) == 0, program.output
    assert program.lines[-1] == "[42, 42, 42] 3"
