"""`manage.py runserver_rpc` in processes of its own: how it starts, what it prints, how it reloads and how it ends."""

import json
import os
import re
import shutil
import signal
import sys
import sysconfig
from functools import partial
from pathlib import Path

import pytest

from amphora import AmqpRpcClient
from tests.support.eventually import wait_until

PROJECT = Path(__file__).parents[1] / "projects" / "depot"
MANAGE = PROJECT / "manage.py"
DJANGO_ADMIN = Path(sysconfig.get_path("scripts")) / "django-admin"
#: Where no broker is.
NOBODY = "amqp://nobody:secret@127.0.0.1:1//"
#: Seconds for a start of Django on a busy machine.
PATIENCE = 60.0

START_ITSELF = """
import sys
from django.core.management import execute_from_command_line
execute_from_command_line(["manage.py", *sys.argv[1:]])
"""


def amphora(**services):
    """Return the environment for these settings."""
    return {"DEPOT_AMPHORA": json.dumps(services)}


@pytest.fixture
def depot(broker, service):
    """The settings of a service of its own on the real broker."""
    return {"SERVICE_NAME": service, "BROKER_URL": broker.url}


@pytest.fixture
def new_client(broker, service):
    """Make clients of that service."""
    clients = []

    def make():
        clients.append(AmqpRpcClient(service, broker_url=broker.url, timeout=PATIENCE))
        return clients[-1]

    yield make
    for client in clients:
        client.stop()


def test_it_prints_what_it_serves_and_serves_it_and_stops_warm(
    start_program, broker, depot, service, new_client, unique_name, tmp_path
):
    label = unique_name("vip")
    address = broker.url_for(user="guest", password="guest")
    program = start_program(
        *(MANAGE, "runserver_rpc", "default", "--queue", label, "--concurrency", "7", "--broker", address),
        env=amphora(
            default={**depot, "BROKER_URL": NOBODY},
            other={"SERVICE_NAME": "other", "BROKER_URL": NOBODY},
        ),
    )
    client = new_client()
    client.create_new_request_queue(label)

    assert client.call.value() == 1
    assert client.call(routing_key=label).value() == 1
    program.wait_for_line(f"default: ready, taking requests from rpc_{service}_request", PATIENCE)
    printed = program.output
    assert "default (service" in printed
    assert "other" not in printed
    assert re.search(r"broker +amqp://guest@", printed)
    assert "secret" not in printed
    assert re.search(rf"queues +its own, and of label '{label}'", printed)
    assert re.search(r"concurrency +7", printed)
    assert re.search(r"functions +hold\.until\(path: str\) -> str", printed)

    [one] = wait_until(lambda: client.inspect.ping(30, limit=1), PATIENCE)
    assert (one.pid, one.concurrency) == (program.pid, 7)
    assert not [each for each in client.inspect.functions(30, limit=1) if each.startswith("amphora.")]

    go_on = tmp_path / "go on"
    result = client.defer.hold.until(str(go_on))
    program.wait_for_line("holding", PATIENCE)
    program.send_signal(signal.SIGTERM)
    program.wait_for_line("SIGTERM: stopping .*waiting for 1 running request", PATIENCE)
    go_on.touch()

    assert result.get(timeout=PATIENCE) == "done"
    assert program.wait(PATIENCE) == 0
    assert program.lines[-1] == "Stopped."


def test_what_takes_longer_than_it_may_goes_back_to_the_queue(start_program, broker, depot, new_client, service):
    impatient = start_program(MANAGE, "runserver_rpc", "--grace", "0.1", env=amphora(default=depot))
    new_client().defer.hold.until("/never")
    impatient.wait_for_line("holding", PATIENCE)
    impatient.send_signal(signal.SIGTERM)

    assert impatient.wait(PATIENCE) == 1
    assert "longer than the grace period" in impatient.output
    wait_until(lambda: broker.queues()[f"rpc_{service}_request"].ready == 1, PATIENCE)

    patient = start_program(MANAGE, "runserver_rpc", env=amphora(default=depot))
    patient.wait_for_line("holding", PATIENCE)
    patient.send_signal(signal.SIGINT)
    patient.wait_for_line("SIGINT: stopping", PATIENCE)
    patient.send_signal(signal.SIGINT)

    assert patient.wait(PATIENCE) == 128 + signal.SIGINT
    assert "Stopped at once" in patient.output
    wait_until(lambda: broker.queues()[f"rpc_{service}_request"].ready == 1, PATIENCE)


def test_it_stops_while_it_waits_for_a_broker_that_is_not_there(start_program, depot):
    program = start_program(MANAGE, "runserver_rpc", env=amphora(default={**depot, "BROKER_URL": NOBODY}))
    program.wait_for_line("Quit the server", PATIENCE)
    program.wait_for_line("WARNING", PATIENCE)

    assert program.terminate(PATIENCE) == 0


def test_it_is_patched_however_it_is_started(start_program):
    settings = {"DJANGO_SETTINGS_MODULE": "depot.settings", "PYTHONPATH": f"{PROJECT}{os.pathsep}{Path.cwd()}"}
    patches_itself = f"from gevent import monkey; monkey.patch_all()\n{START_ITSELF}"
    programs = [
        start_program(MANAGE, "runserver_rpc", "-v0"),
        start_program("-X", "dev", "-Wdefault", MANAGE, "runserver_rpc", "-v0"),
        start_program("-m", "django", "runserver_rpc", "-v0", env=settings),
        start_program(DJANGO_ADMIN, "runserver_rpc", "-v0", env=settings),
        start_program("-c", START_ITSELF, "runserver_rpc", "-v0", env=settings),
        start_program("-c", patches_itself, "runserver_rpc", "-v0", env=settings),
    ]

    processes = [json.loads(each.wait_for_line(r"process: (.*)", PATIENCE)[1]) for each in programs]
    for program in programs:
        program.wait_for_line("taking requests", PATIENCE)

    assert [each["patched"] for each in processes] == [True] * len(programs)
    assert [each["psycopg waits in Python"] for each in processes] == [True] * len(programs)
    assert [each["arguments"] for each in processes] == [["runserver_rpc", "-v0"]] * len(programs)
    assert [each["developing"] for each in processes] == [False, True, False, False, False, False]
    assert processes[1]["warnings"][-1] == "default"
    assert [program.terminate(PATIENCE) for program in programs] == [0] * len(programs)


@pytest.mark.expects_errors("refuses access")
def test_a_wrong_configuration_is_told_and_ends_it_with_a_status_that_is_not_zero(start_program, broker, depot):
    refused = {**depot, "BROKER_URL": broker.url_for(password="wrong")}
    # As 0.1 names queues: a label can have the name of a service.
    old_names = {**depot, "QUEUE_TEMPLATE": "rpc_{label}_request"}
    developing = {"DEPOT_DEBUG": "yes"}
    programs = {
        "has no alias 'nosuch'": start_program(MANAGE, "runserver_rpc", "nosuch"),
        "whole number of at least 1": start_program(MANAGE, "runserver_rpc", "--concurrency", "none"),
        "--queue needs one alias": start_program(
            MANAGE, "runserver_rpc", "--queue", "vip", env=amphora(default=depot, other={**depot, "SERVICE_NAME": "o"})
        ),
        "did you mean 'TIMEOUT'": start_program(MANAGE, "runserver_rpc", env=amphora(default={**depot, "TIMOUT": 1})),
        "broken on purpose": start_program(MANAGE, "runserver_rpc", env={"DEPOT_BROKEN": "yes"}),
        "ACCESS_REFUSED": start_program(MANAGE, "runserver_rpc", env=amphora(default=refused)),
        "the request queue of the service itself": start_program(
            MANAGE, "runserver_rpc", "--queue", depot["SERVICE_NAME"], env=amphora(default=old_names)
        ),
        "AMPHORA['default']": start_program(MANAGE, "runserver_rpc", env={**amphora(default=refused), **developing}),
    }

    for text, program in programs.items():
        assert program.wait(PATIENCE) != 0
        assert text in program.output
        assert "wrong@" not in program.output


def test_it_starts_again_when_the_code_changes(start_program, depot, new_client, tmp_path):
    project = tmp_path / "project"
    shutil.copytree(PROJECT, project, ignore=shutil.ignore_patterns("__pycache__"))
    code = project / "stock" / "rpc.py"
    original = code.read_text()
    program = start_program(
        project / "manage.py", "runserver_rpc", env={**amphora(default=depot), "DEPOT_DEBUG": "yes"}
    )
    client = new_client()
    assert client.call.value() == 1

    code.write_text(original.replace("VALUE = 1", "VALUE = 2"))
    program.wait_for_line("Code has changed", PATIENCE)
    wait_until(lambda: client.call.value() == 2, PATIENCE)

    code.write_text("this is no Python")
    program.wait_for_line("SyntaxError", PATIENCE)
    program.wait_for_line("Waiting for the code to change", PATIENCE)
    code.write_text(original.replace("VALUE = 1", "VALUE = 3"))
    assert client.call.value() == 3

    # As a terminal does it on CONTROL-C: to every process of the group.
    os.killpg(program.pid, signal.SIGINT)
    assert program.wait(PATIENCE) == 0
    assert program.lines[-1] == "Stopped."


def test_a_signal_to_the_whole_process_group_counts_once(start_program, depot, new_client, tmp_path):
    env = {**amphora(default=depot), "DEPOT_DEBUG": "yes"}
    go_on = tmp_path / "go on"
    program = start_program(MANAGE, "runserver_rpc", env=env)
    result = new_client().defer.hold.until(str(go_on))
    program.wait_for_line("holding", PATIENCE)

    # Both processes get it: the one that watches over reloading, and the one that serves.
    os.killpg(program.pid, signal.SIGTERM)
    program.wait_for_line("SIGTERM: stopping .*waiting for 1 running request", PATIENCE)
    go_on.touch()

    assert result.get(timeout=PATIENCE) == "done"
    assert program.wait(PATIENCE) == 0
    assert program.lines[-1] == "Stopped."


@pytest.mark.parametrize("to_group", [True, False], ids=["the group", "the parent"])
def test_a_second_signal_stops_a_reloading_server_at_once(start_program, depot, new_client, to_group):
    program = start_program(MANAGE, "runserver_rpc", env={**amphora(default=depot), "DEPOT_DEBUG": "yes"})
    send = partial(os.killpg if to_group else os.kill, program.pid, signal.SIGTERM)
    new_client().defer.hold.until("/never")
    program.wait_for_line("holding", PATIENCE)

    send()
    program.wait_for_line("SIGTERM: stopping", PATIENCE)
    send()

    assert program.wait(PATIENCE) == 128 + signal.SIGTERM
    assert "Stopped at once" in program.output


@pytest.mark.parametrize("closed", ["2>&-", ">&-", ">&- 2>&-"])
def test_it_serves_with_closed_streams(start_program, depot, new_client, closed):
    shell = f'exec "$0" "$@" {closed}'
    call = "import os, sys; os.execv('/bin/sh', ['/bin/sh', '-c', *sys.argv[1:]])"
    program = start_program("-c", call, shell, sys.executable, MANAGE, "runserver_rpc", env=amphora(default=depot))

    assert new_client().call.value() == 1
    assert program.terminate(PATIENCE) == 0
