"""Calls that tasks make, in workers with every pool, and tasks that functions send and wait for."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import gevent
import pytest
from celery import _state, signals
from gevent.event import Event

from amphora import AmqpRpcClient, RemoteException, current_request
from tests.contrib.celery.project import PATIENCE, make_app
from tests.support.broker import Broker
from tests.support.eventually import wait_until
from tests.support.processes import Program

POOLS = ["prefork", "threads", "solo", "gevent"]

#: Nobody needs to know the other workers, and looking for them takes a second.
ALONE = ("--without-gossip", "--without-mingle")


@pytest.fixture(scope="module")
def held() -> defaultdict[str, Event]:
    """What calls of `hold` wait for, by name."""
    return defaultdict(Event)


@pytest.fixture(scope="module")
def app(broker: Broker, held: defaultdict[str, Event]) -> Iterator[Any]:
    """The application in this process, where its server runs."""
    before = set(_state._on_app_finalizers)
    app = make_app(broker.url, f"project_{uuid4().hex[:8]}")
    server = app.amphora.server
    server.add_function(lambda value: value, name="echo")
    server.add_function(lambda name: held[name].wait() and "held", name="hold")
    server.add_function(lambda: {}["no"], name="fail")

    @server.add_function
    def describe() -> dict[str, Any]:
        request = current_request()
        assert request is not None
        return {"headers": dict(request.headers), "remaining": request.remaining, "task": app.current_task.request.id}

    @server.add_function
    def send(queue: str) -> Any:
        """Send a task, and return what it says of its sender, and the request's own id."""
        return [app.send_task("whose", queue=queue).get(timeout=PATIENCE), app.current_task.request.id]

    with server:
        yield app
    app.amphora.client.reset()
    app.close()
    _state._on_app_finalizers.intersection_update(before)


def start_worker(app: Any, broker: Broker, pool: str, queue: str) -> Program:
    arguments = ("-P", pool, "-c", "2", "-Q", queue, "-n", f"{queue}@localhost", "-l", "INFO", *ALONE)
    environment = {"PROJECT_BROKER": broker.url, "PROJECT_SERVICE": app.amphora.server.service_name}
    return Program("-m", "celery", "-A", "tests.contrib.celery.project", "worker", *arguments, env=environment)


@pytest.fixture(scope="module", params=POOLS)
def pool(request: pytest.FixtureRequest, app: Any, broker: Broker) -> Iterator[str]:
    """A pool whose worker takes tasks from the queue of the same name."""
    queue = f"{app.amphora.server.service_name}_{request.param}"
    with start_worker(app, broker, request.param, queue) as worker:
        worker.wait_for_line("ready", timeout=PATIENCE)
        yield request.param
        code = worker.terminate(timeout=PATIENCE)
        assert code == 0, worker.output
        assert "Traceback" not in worker.output, worker.output


@pytest.fixture
def run(app: Any, pool: str) -> Callable[..., Any]:
    """Run a task in the pool's worker, and return its result."""

    def run(name: str, *args: Any) -> Any:
        result = app.send_task(name, args, queue=f"{app.amphora.server.service_name}_{pool}")
        return result.get(timeout=PATIENCE)

    return run


def test_a_task_calls_and_says_who_it_is_and_how_much_time_there_is(run: Callable[..., Any], pool: str) -> None:
    answers = [run("describe") for _ in range(3)]

    for answer in answers:
        assert answer["client"] == ("AmqpRpcClient" if pool == "gevent" else "ThreadedClient")
        assert answer["deferred"] == list(range(10))
        told = answer["told"]
        assert told["headers"] == {
            **told["headers"],
            "celery_root_id": answer["root"],
            "celery_parent_id": answer["id"],
            "celery_task": "describe",
        }
        # From the shorter of the two limits, in good time before the longer.
        assert 0 < told["remaining"] < 250


def test_an_exception_of_the_service_is_one_in_the_task(run: Callable[..., Any]) -> None:
    assert run("fail") == ["KeyError", ["no"]]


def test_the_soft_time_limit_of_a_task_ends_its_waiting_call(
    run: Callable[..., Any], pool: str, held: defaultdict[str, Event]
) -> None:
    assert run("wait", pool) == ["SoftTimeLimitExceeded", True, "again"]

    held[pool].set()


def test_a_task_that_a_function_sends_knows_the_request_and_the_root(app: Any, pool: str, broker: Broker) -> None:
    traced = AmqpRpcClient(app.amphora.server.service_name, broker_url=broker.url, timeout=PATIENCE)
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    @traced.add_middleware
    def from_elsewhere(request: Any, send: Any) -> Any:
        request.headers.update(celery_root_id="the root", traceparent=trace)
        return send()

    with traced:
        (task_id, root_id, parent_id, parent_trace), request_id = traced.call.send(f"{traced.service_name}_{pool}")

    assert (root_id, parent_id, parent_trace) == ("the root", request_id, trace)
    assert task_id != request_id


# Through the queue.


@pytest.fixture(scope="module")
def worker(app: Any, broker: Broker) -> Iterator[Program]:
    """A worker for the application's own queue."""
    with start_worker(app, broker, "threads", app.amphora.server.service_name) as worker:
        worker.wait_for_line("ready", timeout=PATIENCE)
        yield worker


@pytest.fixture
def sent() -> Iterator[list[str]]:
    """Ids of the tasks that this process sends."""
    ids: list[str] = []

    def published(headers: dict[str, Any], **_: Any) -> None:
        ids.append(headers["id"])

    signals.before_task_publish.connect(published)
    yield ids
    signals.before_task_publish.disconnect(published)


def take_from(app: Any, task: str) -> None:
    """Let the worker take from the queue of a task that it leaves alone otherwise."""
    service = app.conf.task_default_queue
    app.control.add_consumer(f"{service}_{task}", destination=[f"{service}@localhost"], reply=True, timeout=PATIENCE)


def test_the_result_of_a_task_answers_a_call(app: Any, worker: Program) -> None:
    client = app.amphora.client

    assert client.call.double(2) == 4
    assert [each.get(timeout=PATIENCE) for each in [client.defer.double(i) for i in range(50)]] == [*range(0, 100, 2)]
    with pytest.raises(RemoteException) as caught:
        client.call.double(None)
    assert (caught.value.error_type, caught.value.args) == ("KeyError", ("nothing to double",))


def test_a_task_that_a_call_sends_has_the_ids_of_the_request(app: Any, worker: Program, sent: list[str]) -> None:
    parent_id, root_id, told = app.amphora.client.call.relayed()

    assert (parent_id, root_id) == (None, sent[0])
    # Those of the call that the task made in turn.
    assert told["headers"]["celery_parent_id"] == told["headers"]["celery_root_id"] == sent[0]


def test_a_revoked_task_answers_as_such(app: Any, worker: Program, sent: list[str]) -> None:
    result = app.amphora.client.defer.revoked()
    wait_until(lambda: sent, timeout=PATIENCE)

    app.control.revoke(sent[0], reply=True, timeout=PATIENCE, destination=[f"{app.conf.task_default_queue}@localhost"])
    take_from(app, "revoked")

    with pytest.raises(RemoteException) as caught:
        result.get(timeout=PATIENCE)
    assert (caught.value.error_type, caught.value.args) == ("TaskRevokedError", ("revoked",))


def test_an_expired_task_answers_as_such(app: Any, worker: Program, sent: list[str]) -> None:
    result = app.amphora.client.defer(expires=4).expired()
    expiry = time.time() + 4
    wait_until(lambda: sent, timeout=PATIENCE)

    gevent.sleep(max(0.0, expiry - time.time()))
    take_from(app, "expired")

    with pytest.raises(RemoteException) as caught:
        result.get(timeout=PATIENCE)
    assert (caught.value.error_type, caught.value.args) == ("TaskRevokedError", ("expired",))


@pytest.mark.expects_errors("KeyError", "raised unexpected: ")
def test_a_task_that_nobody_runs_is_given_up(app: Any) -> None:
    app.conf.amphora_result_timeout = 0.1
    try:
        with pytest.raises(RemoteException, match=r"has no result after 0.1 s \(amphora_result_timeout\): is there a"):
            app.amphora.client.call.given_up()
    finally:
        app.conf.amphora_result_timeout = PATIENCE
