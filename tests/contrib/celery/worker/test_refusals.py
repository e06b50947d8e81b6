"""Workers that cannot serve end with a message that says what to do."""

from collections.abc import Callable

import pytest

from amphora import AmqpRpcFanoutServer
from tests.contrib.celery.worker.conftest import ALONE, START, CeleryProgram
from tests.support.broker import Broker

WORKER = ("worker", "--amphora", *ALONE)


@pytest.mark.parametrize(
    ("pool", "complaint"),
    [
        ((), "its pool is prefork, and the server needs gevent. Start it with `celery -A proj worker -P gevent"),
        (("-Pgevent",), "is not patched by gevent. Celery patches it only where the command line names the pool"),
    ],
    ids=["prefork", "gevent that Celery does not see"],
)
def test_a_worker_without_gevent_refuses_to_start_and_says_what_to_do(
    broker: Broker, celery: CeleryProgram, pool: tuple[str, ...], complaint: str
) -> None:
    worker = celery(broker.url, *WORKER, *pool)

    assert worker.wait(START) == 1
    assert complaint in worker.output
    assert "Traceback" not in worker.output


def test_a_worker_without_a_service_name_refuses_to_start(broker: Broker, celery: CeleryProgram) -> None:
    worker = celery(broker.url, *WORKER, "-P", "gevent", SHOP_SERVICE="")

    assert worker.wait(START) == 1
    assert "no amphora_service_name: set" in worker.output
    assert "Traceback" not in worker.output


@pytest.mark.expects_errors("cannot share one name")
def test_a_worker_ends_where_the_broker_refuses_its_server_for_good(
    broker: Broker, celery: CeleryProgram, unique_name: Callable[[str], str]
) -> None:
    # Somebody has a fan-out service of that name.
    service = unique_name("taken")
    with AmqpRpcFanoutServer(service, broker_url=broker.url) as other:
        assert other.wait_connected(30)

        worker = celery(broker.url, *WORKER, "-P", "gevent", SHOP_SERVICE=service)

        assert worker.wait(START) == 1
    assert "the RPC server cannot start, so the worker ends" in worker.output
    assert service in worker.output
