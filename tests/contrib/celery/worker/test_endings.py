"""Workers that are killed and workers that are stopped: no call is lost, and none is kept waiting."""

import signal
from pathlib import Path

import pytest

from tests.acceptance.load import Load
from tests.acceptance.runs import Runs
from tests.contrib.celery.worker.conftest import NewClient, StartWorker
from tests.support.broker import Broker
from tests.support.eventually import wait_until


def test_a_call_that_a_killed_worker_was_running_runs_on_another(
    broker: Broker, new_client: NewClient, start_worker: StartWorker, runs: Runs, tmp_path: Path
) -> None:
    killed = start_worker(broker.url)
    go_on = tmp_path / "go_on"
    result = new_client(broker.url).defer.work_until(1, str(go_on))
    wait_until(lambda: runs.begun(1), 30, "the function runs")

    killed.kill()
    go_on.touch()
    heir = start_worker(broker.url)

    assert result.get(timeout=60) == 1
    assert runs.begun(1) == [killed.pid, heir.pid]


def test_a_warm_shutdown_under_load_loses_nothing_and_runs_nothing_twice(
    broker: Broker, new_client: NewClient, start_worker: StartWorker, runs: Runs, tmp_path: Path
) -> None:
    client = new_client(broker.url)
    ending = start_worker(broker.url)
    go_on = tmp_path / "go_on"
    long = client.defer.work_until(0, str(go_on))

    with Load(client) as load:
        load.wait_for_progress()
        ending.send_signal(signal.SIGTERM)
        # The heir may take what the ending worker takes no more.
        heir = start_worker(broker.url)
        wait_until(lambda: f" {heir.pid}\n" in runs.path.read_text(), 30, "the heir runs some")
        assert not long.ready()
        go_on.touch()
        assert ending.wait(timeout=60) == 0
        load.wait_for_progress()

    assert long.get(timeout=30) == 0
    load.assert_all_answered()
    assert runs.begun(0) == [ending.pid]
    assert runs.begins == dict.fromkeys([0, *load.results], 1)


@pytest.mark.parametrize("already", ["serving", "shutting down"])
# Celery closes its own connections in a callback of the event loop.
@pytest.mark.expects_errors("BlockingSwitchOutError")
def test_a_cold_shutdown_gives_a_running_call_back_at_once(
    broker: Broker,
    service: str,
    new_client: NewClient,
    start_worker: StartWorker,
    runs: Runs,
    tmp_path: Path,
    already: str,
) -> None:
    queue = f"rpc_{service}_request"
    worker = start_worker(broker.url)
    result = new_client(broker.url).defer.work_until(1, str(tmp_path / "never"))
    wait_until(lambda: runs.begun(1), 30, "the function runs")
    if already == "shutting down":
        worker.send_signal(signal.SIGTERM)
        # (Since RabbitMQ 4, a quorum queue counts a canceled consumer until its last message is acknowledged.)
        wait_until(lambda: queue not in broker.ctl("list_consumers", "queue_name").split(), 30, "it takes no more")

    worker.send_signal(signal.SIGQUIT)

    # What Celery makes of it here (its handler may block where gevent forbids it, and say so) is its own affair.
    worker.wait(timeout=60)
    wait_until(lambda: broker.queues()[queue].ready == 1, 30, "the request is in its queue again")
    assert not result.ready()
