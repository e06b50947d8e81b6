"""Clients with a chosen uuid: two at the same time, one after the other, and one whose queue is in conflict."""

import time
from collections.abc import Callable

import amqp
import pytest

from amphora import AmqpRpcClient, NoResult, TopologyConflict
from tests.integration.conftest import NewClient, NewServer
from tests.integration.functions import Holding
from tests.support.broker import Broker
from tests.support.eventually import wait_until


@pytest.fixture
def uuid(unique_name: Callable[[str], str]) -> str:
    """A uuid that no other test uses."""
    return unique_name("uuid")


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.name.startswith("amphora") and record.levelname in ("WARNING", "ERROR")
    ]


def test_two_clients_with_one_uuid_are_logged_once_by_each(
    new_client: NewClient, new_server: NewServer, uuid: str, caplog: pytest.LogCaptureFixture
) -> None:
    new_server(abs, connected=True)
    clients = [new_client(uuid=uuid), new_client(uuid=uuid)]
    for client in clients:
        assert client.wait_connected(20)

    # One after the other: in turns, each reply could happen to reach its own client.
    results = [client.defer(timeout=5).abs(-number) for client in clients for number in range(20)]
    wait_until(lambda: all(any(repr(client) in line for line in warnings_of(caplog)) for client in clients))

    lost = 0
    for result in results:
        try:
            result.get()
        except NoResult:
            lost += 1
    assert lost > 0
    lines = warnings_of(caplog)
    assert len(lines) == 2
    assert all(f"2 clients use the uuid {uuid!r} at the same time" in line for line in lines)


def test_a_client_that_follows_another_one_drops_its_replies_and_warns_of_nothing(
    new_client: NewClient, new_server: NewServer, hold: Holding, uuid: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = new_server(hold, connected=True)
    first = new_client(uuid=uuid)
    lost = first.defer(timeout=1).hold()
    assert hold.began.wait(20)
    first.stop()
    second = new_client(uuid=uuid)
    assert second.wait_connected(20)

    hold.let_go.set()

    wait_until(lambda: second.stats()["late_replies"] == 1)
    assert second.call.hold() == "done"
    with pytest.raises(NoResult):
        lost.get(timeout=20)
    assert server.stats()["undeliverable"] == 0
    assert warnings_of(caplog) == []


@pytest.mark.expects_errors("with other properties than Amphora declares")
def test_a_client_whose_response_queue_was_in_conflict_works_once_that_is_removed(
    new_client: NewClient, new_server: NewServer, broker: Broker, amqp_channel: amqp.Channel, service: str, uuid: str
) -> None:
    new_server(abs, connected=True)
    queue = f"rpc_{service}_{uuid}_response"
    amqp_channel.queue_declare(queue, durable=True, auto_delete=False, arguments={"x-expires": 600_000})
    client = new_client(uuid=uuid)
    for _ in range(3):
        with pytest.raises(TopologyConflict, match="x-expires"):
            client.call(timeout=20).abs(-1)

    broker.delete_queue(queue)

    wait_until(lambda: answers(client))
    wait_until(lambda: client.connected)


@pytest.mark.expects_errors("with other properties than Amphora declares")
def test_a_client_that_was_stopped_after_a_conflict_stays_stopped(
    new_client: NewClient, broker: Broker, amqp_channel: amqp.Channel, service: str, uuid: str
) -> None:
    queue = f"rpc_{service}_{uuid}_response"
    amqp_channel.queue_declare(queue, durable=True, auto_delete=False, arguments={"x-expires": 600_000})
    client = new_client(uuid=uuid)
    with pytest.raises(TopologyConflict):
        client.call(timeout=20).abs(-1)

    client.stop()
    broker.delete_queue(queue)
    later = time.monotonic() + 1.5
    wait_until(lambda: time.monotonic() > later)

    with pytest.raises(TopologyConflict):
        client.call(timeout=1).abs(-1)
    assert not client.connected


def answers(client: AmqpRpcClient) -> bool:
    try:
        return bool(client.call(timeout=20).abs(-1) == 1)
    except TopologyConflict:
        return False
