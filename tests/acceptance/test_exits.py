"""Programs that exit with unconfirmed requests wait for them, and report those that are lost: all kinds in one way."""

import signal
from urllib.request import urlopen

import port_for
import pytest

from tests.conftest import StartProgram
from tests.support.broker import Broker
from tests.support.processes import Program
from tests.support.proxy import Proxy

PROGRAM = "tests/acceptance/exiting.py"

KINDS = ["plain", "threaded", "django", "django-threaded", "celery", "celery-threaded"]
#: Those that the others are made of.
BOTH = ["plain", "threaded"]

#: Where no broker is.
NOWHERE = "amqp://127.0.0.1:1"

LOST = r"had not confirmed 4 requests when the process exited; what it did not receive is lost: add \(3\), mul$"
#: Seconds that no test has: a program that waits for so long has not ended in time.
ENDLESS = 1000

pytestmark = pytest.mark.expects_errors("had not confirmed")


def messages(broker: Broker, service: str) -> int:
    """Return how many requests are in the service's queue."""
    with broker.channel() as channel:
        return int(channel.queue_declare(f"rpc_{service}_request", passive=True).message_count)


def lost(program: Program) -> list[str]:
    """Return the lines in which a program reports what it has lost."""
    return [line for line in program.lines if "had not confirmed" in line]


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_deferred_is_sent_before_the_process_ends(
    start_program: StartProgram, broker: Broker, service: str, kind: str
) -> None:
    program = start_program(PROGRAM, kind, broker.url, service, ENDLESS, "run")

    assert program.wait(90) == 0
    assert lost(program) == []
    assert messages(broker, service) == 4


@pytest.mark.parametrize("kind", KINDS)
def test_an_exit_waits_for_a_broker_that_comes_back(
    start_program: StartProgram, broker: Broker, service: str, kind: str
) -> None:
    with Proxy(broker.port) as proxy:
        proxy.refuse()
        program = start_program(PROGRAM, kind, proxy.url, service, ENDLESS, "interrupt")
        program.wait_for_line("^waits$", 60)
        program.wait_for_line("Connection refused", 60)
        proxy.accept()

        assert program.wait(90) == 0
    assert lost(program) == []
    assert messages(broker, service) == 4


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_unconfirmed_after_the_exit_timeout_is_an_error_with_its_functions(
    start_program: StartProgram, service: str, kind: str
) -> None:
    program = start_program(PROGRAM, kind, NOWHERE, service, 0.2, "run")
    program.wait_for_line(LOST, 60)

    assert program.wait(60) == 0
    assert len(lost(program)) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_an_idle_program_exits_without_delay(
    start_program: StartProgram, broker: Broker, service: str, kind: str
) -> None:
    program = start_program(PROGRAM, kind, broker.url, service, ENDLESS, "idle")

    assert program.wait(90) == 0
    assert program.lines == ["exits"]


@pytest.mark.expects_errors("SystemError: a fault")
@pytest.mark.parametrize(("action", "status"), [("exit", 3), ("raise", 1)])
@pytest.mark.parametrize("kind", BOTH)
def test_an_exit_keeps_its_status(
    start_program: StartProgram, service: str, kind: str, action: str, status: int
) -> None:
    program = start_program(PROGRAM, kind, NOWHERE, service, 0.2, action)
    program.wait_for_line(LOST, 60)

    assert program.wait(60) == status


def test_a_client_that_was_stopped_is_reported_without_a_wait(start_program: StartProgram, service: str) -> None:
    program = start_program(PROGRAM, "plain", NOWHERE, service, ENDLESS, "stop")
    program.wait_for_line(LOST, 60)

    assert program.wait(60) == 0


def test_stopping_a_threaded_client_waits_as_an_exit_does(start_program: StartProgram, service: str) -> None:
    program = start_program(PROGRAM, "threaded", NOWHERE, service, 0.2, "stop")
    program.wait_for_line(LOST.replace("process exited", "client was stopped"), 60)
    program.wait_for_line("^exits$")

    assert program.wait(60) == 0
    assert len(lost(program)) == 1


def test_a_client_that_was_stopped_and_dropped_is_reported_at_once(start_program: StartProgram, service: str) -> None:
    program = start_program(PROGRAM, "plain", NOWHERE, service, ENDLESS, "drop")
    program.wait_for_line(LOST.replace("process exited", "client was dropped"), 60)

    assert program.wait(60) == 0
    assert len(lost(program)) == 1


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize(("action", "number"), [("interrupt", signal.SIGINT), ("sigterm", signal.SIGTERM)])
def test_a_signal_ends_the_wait_at_once(
    start_program: StartProgram, service: str, kind: str, action: str, number: signal.Signals
) -> None:
    program = start_program(PROGRAM, kind, NOWHERE, service, ENDLESS, action)
    program.wait_for_line("^waits$", 60)
    program.send_signal(number)
    program.wait_for_line(LOST, 60)

    assert program.wait(60) == 0
    assert "Traceback" not in program.output


@pytest.mark.parametrize("kind", BOTH)
def test_a_forked_child_neither_waits_for_nor_reports_requests_of_its_parent(
    start_program: StartProgram, service: str, kind: str
) -> None:
    program = start_program(PROGRAM, kind, NOWHERE, service, 0.2, "fork")
    program.wait_for_line("child ended with 0", 60)

    assert lost(program) == []
    assert program.wait(60) == 0
    assert len(lost(program)) == 1


@pytest.mark.parametrize("kind", BOTH)
def test_a_child_of_multiprocessing_waits_and_reports_too(start_program: StartProgram, service: str, kind: str) -> None:
    program = start_program(PROGRAM, kind, NOWHERE, service, 0.2, "multiprocessing")
    program.wait_for_line(LOST, 60)

    assert program.wait(60) == 0
    assert len(lost(program)) == 1


def test_a_program_that_serves_until_sigterm_reports_what_its_functions_deferred(
    start_program: StartProgram, service: str
) -> None:
    program = start_program(PROGRAM, "plain", NOWHERE, service, 0.2, "serve")
    program.wait_for_line("^serves$", 60)
    program.send_signal(signal.SIGTERM)
    program.wait_for_line(LOST, 60)

    assert program.wait(60) == 0


@pytest.mark.parametrize("worker", ["gevent", "sync"])
def test_a_gunicorn_worker_that_exits_reports_what_its_views_deferred(start_program: StartProgram, worker: str) -> None:
    port = port_for.select_random()
    arguments = ("-m", "gunicorn", "-k", worker, "--no-control-socket", "--bind", f"127.0.0.1:{port}")
    program = start_program(*arguments, "tests.acceptance.deferring_site:application")
    program.wait_for_line("Booting worker", 60)
    with urlopen(f"http://127.0.0.1:{port}/", timeout=60) as response:
        assert response.read() == b"deferred"
    program.send_signal(signal.SIGTERM)
    program.wait_for_line("had not confirmed 1 request when the process exited; .* lost: add$", 60)

    assert program.wait(60) == 0
