"""Services without ``queue_type`` when brokers crash, come back empty, and are of another release."""

from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest

from tests.acceptance.conftest import NewClient, NewServer, StartServer
from tests.acceptance.runs import Runs
from tests.acceptance.work import Work
from tests.support.broker import DEBIAN_PROGRAMS, Broker
from tests.support.eventually import wait_until

TIMEOUT = 60


def type_of(broker: Broker, service: str) -> str:
    return str(broker.queues()[f"rpc_{service}_request"].arguments["x-queue-type"])


@pytest.fixture
def brokers(own_broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Broker]]:
    """Two nodes that know nothing of each other: RabbitMQ 3, and 4."""
    if own_broker.release < (4, 0):
        pytest.skip("AMPHORA_RABBITMQ names no RabbitMQ 4")
    programs = [DEBIAN_PROGRAMS / name for name in ("rabbitmq-server", "rabbitmqctl")]
    if not programs[0].exists():
        pytest.skip("RabbitMQ 3 is not installed")
    server, ctl = map(str, programs)
    older = Broker(tmp_path_factory.mktemp("older"), server=server, ctl=ctl)
    older.start()
    try:
        if older.release >= (4, 0):
            pytest.skip("RabbitMQ 3 is not installed")
        yield {"3": older, "4": own_broker}
    finally:
        older.close()


@pytest.mark.parametrize(("first", "then", "expected"), [("3", "4", "quorum"), ("4", "3", "classic")])
def test_on_an_empty_broker_of_another_release_a_service_gets_the_types_that_suit_that_one(
    brokers: dict[str, Broker],
    service: str,
    new_client: NewClient,
    new_server: NewServer,
    first: str,
    then: str,
    expected: str,
) -> None:
    url = f"{brokers[first].url};{brokers[then].url}"
    server = new_server(url, Work(), delivery_limit=3)
    assert server.wait_connected(20)
    client = new_client(url, timeout=TIMEOUT)
    client.create_new_request_queue(service)
    server.receive_from_queue(service, block=False)
    assert client.call.work(1) == client.call(routing_key=service).work(1) == 1
    assert type_of(brokers[first], service) != expected

    brokers[first].kill()

    assert client.call.work(2) == 2
    # The client notices that the broker does not know its label's queue, and declares it again.
    assert client.call(routing_key=service).work(3) == 3
    queues = brokers[then].queues()
    for name in ("request", "dead", f"queue_{service}"):
        assert queues[f"rpc_{service}_{name}"].arguments["x-queue-type"] == expected, name
    assert server.queue_type == client.queue_type == expected
    brokers[first].start()


@pytest.mark.parametrize("existing", [None, "classic"])
def test_requests_that_were_confirmed_run_after_the_broker_was_killed(
    own_broker: Broker,
    service: str,
    new_client: NewClient,
    new_server: NewServer,
    existing: str | None,
) -> None:
    if existing is not None:
        server = new_server(own_broker.url, queue_type=existing)
        assert server.wait_connected(20)
        server.stop()
    client = new_client(own_broker.url, timeout=None)
    client.create_new_request_queue(service)
    for number in range(300):
        # Returns when the broker has confirmed it.
        client.defer(routing_key=service if number % 2 else "").work(number)
    client.stop()

    own_broker.sync()
    own_broker.kill()
    own_broker.start()

    work = Work()
    server = new_server(own_broker.url, work)
    server.receive_from_queue(service, block=False)
    wait_until(lambda: len(work.runs) == 300, 60)
    assert set(work.runs) == set(range(300))
    assert server.queue_type == (existing or ("quorum" if own_broker.release >= (4, 0) else "classic"))


def test_processes_that_race_for_a_new_service_agree(
    broker: Broker, service: str, new_client: NewClient, start_server: StartServer, runs: Runs
) -> None:
    # In processes of their own.
    started = [gevent.spawn(start_server, broker.url, delivery_limit=limit) for limit in (None, 2, 20)]
    clients = [new_client(broker.url, timeout=TIMEOUT) for _ in range(3)]
    for each in started:
        each.get()

    assert all(client.wait_connected(20) for client in clients)
    expected = "quorum" if broker.release >= (4, 0) else "classic"
    assert {client.queue_type for client in clients} == {type_of(broker, service)} == {expected}


def test_a_service_that_lost_its_broker_is_as_before_beside_programs_that_name_the_type(
    own_broker: Broker, service: str, new_client: NewClient, new_server: NewServer
) -> None:
    explicit: dict[str, Any] = {"queue_type": "classic"}
    old = new_server(own_broker.url, Work(), **explicit)
    assert old.wait_connected(20)
    new_server(own_broker.url, Work())
    clients: list[Callable[..., Any]] = []
    for options in (explicit, {}):
        client = new_client(own_broker.url, timeout=TIMEOUT, **options)
        assert client.call.work(1) == 1
        clients.append(client.call)

    # Without the data: whichever of the four is first declares the queue, and all have known it as a classic one.
    own_broker.wipe()

    for call in clients:
        assert call.work(2) == 2
    assert type_of(own_broker, service) == "classic"
