"""`amphora serve` in processes of its own: it serves, stops warm, replaces what dies, and restarts on change."""

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from amphora import AmqpRpcClient, NoResult
from tests.cli.conftest import READY, Invoke, StartCommand
from tests.conftest import StartProgram
from tests.support.broker import Broker
from tests.support.eventually import wait_until
from tests.support.processes import Program


@pytest.fixture
def client(broker: Broker, service: str):
    with AmqpRpcClient(service, broker_url=broker.url, timeout=60) as client:
        yield client


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # One that nobody has waited for is as good as gone.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def test_it_serves_with_the_broker_and_the_concurrency_given_and_stops_warm(
    serve: Callable[..., Program], broker: Broker, client: AmqpRpcClient, tmp_path: Path
):
    program = serve("--concurrency", 3, target="shop:make")
    told = client.call.where()
    begun, go = tmp_path / "go.begun", tmp_path / "go"
    running = client.defer.wait_for(str(go))
    wait_until(begun.exists, 60)

    program.send_signal(signal.SIGTERM)
    # The reply to the first may await its confirm.
    program.wait_for_line(r"SIGTERM: stopping .*; waiting for [12] running request", 60)
    go.touch()

    assert running.get() == program.pid
    assert program.wait(60) == 0
    address = broker.url.replace("guest:guest", "guest")
    assert told == [address, address, 3]
    assert "guest:guest" not in program.output
    assert program.lines[-1].endswith("stopped")


def test_the_end_of_the_grace_period_and_a_second_signal_leave_requests_to_others(
    serve: Callable[..., Program], client: AmqpRpcClient, tmp_path: Path
):
    hasty, patient = serve("--grace", 0), None
    result = client.defer.wait_for(str(tmp_path / "go"))
    wait_until((tmp_path / "go.begun").exists, 60)

    assert hasty.terminate(60) == 1
    assert "they go back to their queues" in hasty.output
    (tmp_path / "go.begun").unlink()
    patient = serve()
    wait_until((tmp_path / "go.begun").exists, 60)
    patient.send_signal(signal.SIGINT)
    patient.wait_for_line("SIGINT: stopping", 60)
    patient.send_signal(signal.SIGINT)

    assert patient.wait(60) == 130
    assert "Stopped at once" in patient.output
    assert not result.ready()


def test_a_signal_that_a_parent_passes_on_as_well_cuts_no_running_request(
    serve: Callable[..., Program], client: AmqpRpcClient, tmp_path: Path
):
    program = serve()
    result = client.defer.wait_for(str(tmp_path / "go"))
    wait_until((tmp_path / "go.begun").exists, 60)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGTERM):
        program.send_signal(number)
    program.wait_for_line("SIG(INT|TERM): stopping", 60)
    (tmp_path / "go").touch()

    assert program.wait(60) == 0
    assert result.get(timeout=30) == program.pid


def test_processes_that_die_are_replaced_and_none_is_left_behind(serve: Callable[..., Program], client: AmqpRpcClient):
    program = serve("--processes", 2, processes=2)
    children = {each.pid for each in client.inspect.ping(30, limit=2)}
    assert len(children) == 2
    assert program.pid not in children

    victim = children.pop()
    os.kill(victim, signal.SIGKILL)
    program.wait_for_line(rf"process {victim} was ended by SIGKILL; starting another", 60)
    program.wait_for_line(READY, 60)
    after = {each.pid for each in client.inspect.ping(30, limit=2)}

    assert children < after
    assert program.terminate(60) == 0
    assert not any(map(is_alive, after))
    assert program.lines[-1].endswith(f"[{program.pid}] stopped")


def test_processes_whose_parent_is_killed_stop(serve: Callable[..., Program], client: AmqpRpcClient):
    program = serve("--processes", 2, processes=2)
    children = [each.pid for each in client.inspect.ping(30, limit=2)]

    # Not `kill()`, which is for the whole group (and they have groups of their own).
    os.kill(program.pid, signal.SIGKILL)

    wait_until(lambda: not any(map(is_alive, children)), 60)
    assert len(children) == 2
    with pytest.raises(NoResult):
        client.call(timeout=0.2).add(1)


def test_it_restarts_when_the_code_changes_and_waits_while_it_cannot_be_imported(
    serve: Callable[..., Program], client: AmqpRpcClient, directory: Path
):
    program = serve("--reload")
    module, source = directory / "shop.py", (directory / "shop.py").read_text()
    assert client.call.add(1, 2) == 3

    module.write_text(source + "\nraise OSError('half written')\n")
    program.wait_for_line(r"shop\.py has changed: restarting", 60)
    program.wait_for_line("OSError: half written", 60)
    program.wait_for_line("waiting for a change", 60)
    module.write_text(source.replace("return x + y", "return [x, y]"))
    program.wait_for_line(READY, 60)

    assert client.call.add(1, 2) == [1, 2]
    assert program.terminate(60) == 0


@pytest.mark.expects_errors("refuses access")
def test_a_refusal_of_the_broker_ends_all_processes_with_status_4(start_command: StartCommand, broker: Broker):
    url = broker.url_for(user="guest", password="secret-word")

    program = start_command("serve", "shop", "--processes", 2, "--broker", url)

    assert program.wait(60) == 4
    assert "wrong user or password" in program.output
    assert "secret-word" not in program.output


def test_a_mistake_in_the_program_is_shown_from_its_own_line_on(start_command: StartCommand, directory: Path):
    (directory / "wrong.py").write_text("import shop\nshop.server.add_function(42)\n")

    program = start_command("serve", "wrong:server")

    assert program.wait(60) == 2
    assert re.search(r"importing wrong failed:\s+File \".*wrong\.py\", line 2", program.output)
    assert "importlib" not in program.output


def test_python_m_amphora_is_the_same_command_and_patched(start_program: StartProgram, invoke: Invoke):
    asked = start_program(
        "-m",
        "amphora",
        "doctor",
        "--json",
        "--connect-timeout",
        "0.3",
        env={"AMPHORA_BROKER_URL": "amqp://127.0.0.1:1"},
    )
    beside = start_program("-m", "amphora", "--version")

    assert asked.wait(60) == 4
    assert '"check": "patching", "level": "ok"' in asked.output
    assert beside.wait(60) == 0
    assert beside.lines == [invoke("--version").output.rstrip()]
