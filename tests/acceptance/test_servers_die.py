"""Servers that are killed or stopped: every confirmed request runs, every call has an outcome."""

import random
from pathlib import Path

import gevent

from tests.acceptance.conftest import NewClient, StartServer
from tests.acceptance.load import Load
from tests.acceptance.runs import Runs
from tests.support.broker import Broker
from tests.support.eventually import wait_until


def test_a_request_that_a_killed_server_had_not_begun_runs_on_another(
    broker: Broker, service: str, new_client: NewClient, start_server: StartServer, runs: Runs
) -> None:
    client = new_client(broker.url)
    killed = start_server(broker.url)
    killed.pause()
    result = client.defer.work(1)
    wait_until(lambda: broker.queues()[f"rpc_{service}_request"].unacked == 1, message="the request is delivered")

    killed.kill()
    heir = start_server(broker.url)

    assert result.get(timeout=20) == 1
    assert runs.begun(1) == [heir.pid]


def test_a_request_that_a_killed_server_was_running_runs_on_another(
    broker: Broker, new_client: NewClient, start_server: StartServer, runs: Runs, tmp_path: Path
) -> None:
    client = new_client(broker.url)
    killed = start_server(broker.url)
    go_on = tmp_path / "go_on"
    result = client.defer.work_until(1, str(go_on))
    wait_until(lambda: runs.begun(1), message="the function runs")

    killed.kill()
    go_on.touch()
    heir = start_server(broker.url)

    assert result.get(timeout=20) == 1
    assert runs.begun(1) == [killed.pid, heir.pid]


def test_no_call_is_lost_when_servers_are_killed_at_random_moments(
    broker: Broker, new_client: NewClient, start_server: StartServer, runs: Runs
) -> None:
    client = new_client(broker.url)
    servers = [start_server(broker.url, heartbeat=1) for _ in range(2)]

    with Load(client) as load:
        for kills in range(6):
            load.wait_for_progress()
            gevent.sleep(random.uniform(0, 0.02))
            servers[kills % 2].kill()
            servers[kills % 2] = start_server(broker.url, heartbeat=1)
        load.wait_for_progress()

    load.assert_all_answered()
    assert load.confirmed - runs.ends.keys() == set()


def test_a_stopped_server_finishes_what_it_runs(
    broker: Broker, new_client: NewClient, start_server: StartServer, runs: Runs, tmp_path: Path
) -> None:
    client = new_client(broker.url)
    server = start_server(broker.url)
    go_on = tmp_path / "go_on"
    result = client.defer.work_until(1, str(go_on))
    wait_until(lambda: runs.begun(1), message="the function runs")

    ending = gevent.spawn(server.terminate)
    go_on.touch()

    assert ending.get(timeout=30) == 0
    assert result.get(timeout=10) == 1
    assert runs.begins == {1: 1}


def test_a_rolling_restart_of_three_servers_under_load_loses_nothing_and_runs_nothing_twice(
    broker: Broker, new_client: NewClient, start_server: StartServer, runs: Runs
) -> None:
    client = new_client(broker.url)
    servers = [start_server(broker.url) for _ in range(3)]

    with Load(client) as load:
        for index in range(3):
            load.wait_for_progress()
            assert servers[index].terminate() == 0
            servers[index] = start_server(broker.url)
        load.wait_for_progress()

    load.assert_all_answered()
    assert runs.begins == dict.fromkeys(load.results, 1)
