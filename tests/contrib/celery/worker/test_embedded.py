"""A worker inside the tests' own process, as Celery's test helpers start it."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest
from celery import Celery
from celery.contrib.testing.worker import start_worker
from celery.signals import setup_logging

from amphora import AmqpRpcClient
from amphora.contrib.celery import Amphora
from amphora.contrib.celery.worker import AmphoraStep, WorkerRefused
from tests.support.broker import Broker
from tests.support.eventually import wait_until


@pytest.fixture
def app(broker: Broker, service: str) -> Celery:
    app = Celery(service, broker=broker.url, backend="cache+memory://", set_as_current=False)
    app.conf.update(amphora_service_name=service, task_default_queue=f"{service}_tasks")
    Amphora(app)
    app.amphora.server.add_function(abs)
    return app


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    """Logging stays as it is: Celery would set it up for the whole process, and other tests read the log."""

    def leave_it(**_: object) -> None:
        """Celery sets nothing up where somebody answers its signal."""

    setup_logging.connect(leave_it)
    yield
    setup_logging.disconnect(leave_it)


def start(app: Celery, **options: object) -> object:
    return start_worker(app, pool="gevent", perform_ping_check=False, shutdown_timeout=60, **options)


def test_the_worker_serves_its_queues_too_and_its_inspection_tells_what(
    app: Celery, broker: Broker, service: str, unique_name: Callable[[str], str]
) -> None:
    label = unique_name("label")
    app.conf.amphora_queues = [label]
    with start(app, amphora=True), AmqpRpcClient(service, broker_url=broker.url, timeout=30) as client:
        client.create_new_request_queue(label)
        assert client.call.abs(-2) == 2
        assert client.call(routing_key=label).abs(-3) == 3

        (answer,) = wait_until(lambda: app.control.broadcast("amphora", reply=True, limit=1), 30)

    (told,) = answer.values()
    assert told[service]["functions"] == ["abs"]
    assert told[service]["calls"] == 2


def test_a_worker_that_was_not_asked_to_serves_nothing_and_says_so(app: Celery, broker: Broker, service: str) -> None:
    with start(app):
        (answer,) = wait_until(lambda: app.control.broadcast("amphora", reply=True, limit=1), 30)

    assert list(answer.values()) == [{"error": "no RPC server runs in this worker: start it with --amphora"}]
    assert f"rpc_{service}_request" not in broker.queues()


@pytest.mark.parametrize("pool", ["celery.concurrency.prefork", "celery.concurrency.thread", "celery.concurrency.solo"])
def test_every_other_pool_is_refused(app: Celery, pool: str) -> None:
    app.conf.amphora_worker = True
    worker = SimpleNamespace(app=app, pool_cls=type("TaskPool", (), {"__module__": pool}))

    with pytest.raises(WorkerRefused, match=f"its pool is {pool.rpartition('.')[2]}, and the server needs gevent"):
        AmphoraStep(worker)


def test_a_setting_that_is_wrong_is_refused_before_anything_starts(app: Celery) -> None:
    app.conf.amphora_concurrency = 0
    worker = SimpleNamespace(app=app, pool_cls=type("TaskPool", (), {"__module__": "celery.concurrency.gevent"}))

    with pytest.raises(WorkerRefused, match="concurrency"):
        AmphoraStep(worker, amphora=True)


def test_the_command_line_overrules_the_setting(app: Celery) -> None:
    app.conf.amphora_worker = True
    worker = SimpleNamespace(app=app, pool_cls=type("TaskPool", (), {"__module__": "celery.concurrency.prefork"}))

    assert AmphoraStep(worker, amphora=False).enabled is False
