"""One worker, started as its user starts it, runs tasks and serves functions; Celery's program asks and calls it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from celery import Celery

from amphora import AmqpRpcClient, RemoteException
from tests.acceptance.runs import Runs
from tests.contrib.celery.worker.conftest import APPLICATION, START, environment, wait_served
from tests.support.broker import Broker
from tests.support.eventually import wait_until
from tests.support.processes import Program

NODE = "shop@localhost"
SERVICE = "celery_worker_serving"


@pytest.fixture(scope="module")
def env(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return environment(broker.url, SERVICE, Runs(tmp_path_factory.mktemp("serving") / "runs"))


@pytest.fixture(scope="module")
def worker(env: dict[str, str]) -> Iterator[Program]:
    """The worker of this module, with all that Celery's workers do by default."""
    options = ["-P", "gevent", "-c", "100", "--amphora", "-l", "INFO", "-n", NODE]
    with Program("-m", "celery", "-A", APPLICATION, "worker", *options, env=env) as program:
        yield wait_served(program)


@pytest.fixture(scope="module")
def client(broker: Broker) -> Iterator[AmqpRpcClient]:
    with AmqpRpcClient(SERVICE, broker_url=broker.url) as made:
        yield made


@pytest.fixture
def ask(env: dict[str, str]) -> Callable[..., Program]:
    """Run `celery -A shop ...` to its end."""

    def run(*arguments: object) -> Program:
        with Program("-m", "celery", "-A", APPLICATION, *arguments, env=env) as program:
            program.wait(START)
            return program

    return run


def test_a_worker_serves_a_hundred_calls_at_once_and_runs_tasks_beside_them(
    worker: Program, client: AmqpRpcClient, broker: Broker
) -> None:
    app = Celery(broker=broker.url, backend="rpc://")

    # Each returns when all are under way. With its heartbeats, a gevent worker of Celery's takes ten tasks a second.
    calls = [client.defer.meet(110) for _ in range(100)]
    tasks = [app.send_task("shop.meet", [110], queue=f"{SERVICE}_tasks") for _ in range(10)]

    assert [call.get(timeout=60) for call in calls] == [110] * 100
    assert [task.get(timeout=60) for task in tasks] == [110] * 10
    app.close()


def test_inspect_amphora_tells_functions_calls_errors_and_what_is_in_flight(
    worker: Program, client: AmqpRpcClient, ask: Callable[..., Program], tmp_path: Path
) -> None:
    go_on = tmp_path / "go_on"
    with pytest.raises(RemoteException):
        client.call.fail()
    running = client.defer.work_until(1, str(go_on))

    def report() -> dict[str, object]:
        found: dict[str, object] = json.loads(ask("inspect", "amphora", "-j", "-t", 30, "-d", NODE).lines[-1])
        return found

    answer = wait_until(lambda: r if (r := report())[NODE][SERVICE]["in_flight"] else None, START)  # type: ignore[index]

    go_on.touch()
    assert running.get(timeout=30) == 1
    assert answer.keys() == {NODE}
    told = answer[NODE][SERVICE]  # type: ignore[index]
    assert told["functions"] == ["fail", "meet", "work", "work_until"]
    assert told["calls"] >= 2
    assert told["errors"] == 1
    assert told["in_flight"] == 1
    assert told["connected"] is True


def test_a_worker_says_who_it_is_and_what_it_has(worker: Program, client: AmqpRpcClient) -> None:
    [one] = wait_until(lambda: client.inspect.ping(30, limit=1), START)

    assert (one.pid, one.concurrency) == (worker.pid, 100)
    assert list(client.inspect.functions(30, limit=1)) == ["fail", "meet", "work", "work_until"]


def test_the_program_calls_a_function_and_prints_its_result_or_what_is_wrong(
    worker: Program, ask: Callable[..., Program]
) -> None:
    good = ask("amphora", "call", "work", 5, "-k", '{"seconds": 0}')
    bad = ask("amphora", "call", "wrok", 5)

    assert (good.returncode, good.lines[-1]) == (0, "5")
    assert (bad.returncode, bad.lines[-1]) == (1, "Error: WrongRequest: No function wrok defined")


def test_the_worker_ends_in_good_order_when_it_is_asked_to(worker: Program) -> None:
    assert worker.terminate(timeout=60) == 0
    assert "Traceback" not in worker.output
    assert "CRITICAL" not in worker.output
