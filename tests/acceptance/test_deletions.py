"""Queues, exchanges and connections that somebody deletes or closes under us."""

from collections.abc import Callable

import amqp
import pytest
from gevent.event import AsyncResult, Event

from amphora import AmqpRpcClient, AmqpRpcFanoutClient, AmqpRpcFanoutServer, AmqpRpcServer, Unroutable
from tests.acceptance.conftest import NewClient, NewServer
from tests.acceptance.load import Load, outcome_of
from tests.acceptance.work import Work
from tests.support.broker import Broker
from tests.support.eventually import wait_until

Delete = Callable[[Broker, str, str], None]


def delete_request_queue(broker: Broker, service: str, client: str) -> None:
    broker.delete_queue(f"rpc_{service}_request")


def delete_response_queue(broker: Broker, service: str, client: str) -> None:
    broker.delete_queue(f"rpc_{service}_{client}_response")


def delete_request_exchange(broker: Broker, service: str, client: str) -> None:
    broker.delete_exchange(f"rpc_{service}_request")


def delete_response_exchange(broker: Broker, service: str, client: str) -> None:
    broker.delete_exchange(f"rpc_{service}_response")


#: Of a response queue, as clients declare it.
EXPIRES = {"x-expires": 1_800_000}
DELETIONS = [delete_request_queue, delete_response_queue, delete_request_exchange, delete_response_exchange]


@pytest.mark.parametrize("delete", DELETIONS)
def test_a_call_works_after_a_deletion(
    broker: Broker, service: str, new_client: NewClient, new_server: NewServer, delete: Delete
) -> None:
    new_server(broker.url, abs)
    client = new_client(broker.url)
    assert client.call.abs(-1) == 1

    delete(broker, service, client.uuid)

    assert client.call(timeout=20).abs(-2) == 2


@pytest.mark.parametrize("delete", DELETIONS)
def test_every_call_has_an_outcome_when_something_is_deleted_under_load(
    broker: Broker, service: str, new_client: NewClient, new_server: NewServer, delete: Delete
) -> None:
    new_server(broker.url, Work())
    client = new_client(broker.url)

    # What a deleted queue held is gone, which the callers learn from their timeouts.
    with Load(client, timeout=2) as load:
        for _ in range(5):
            load.wait_for_progress()
            delete(broker, service, client.uuid)
        load.wait_for_progress()

    assert load.results == {number: number for number in load.results}
    assert {type(error).__name__ for error in load.errors.values()} <= {"NoResult", "Unroutable"}
    assert client.call.work(0) == 0


def test_no_server_is_deaf_after_its_queue_was_deleted_and_declared_again_at_once(
    broker: Broker, service: str, new_client: NewClient, new_server: NewServer
) -> None:
    new_server(broker.url, Work())
    client = new_client(broker.url)

    # Without `x-cancel-on-ha-failover` one deletion in about a hundred makes RabbitMQ 3 forget the consumer.
    with Load(client, timeout=0.3) as load:
        for _ in range(60):
            load.wait_for_progress(5)
            delete_request_queue(broker, service, client.uuid)
        load.wait_for_progress()

    assert client.call.work(0) == 0


def test_a_vhost_whose_queues_are_quorum_queues_is_served(
    broker: Broker, unique_name: Callable[[str], str], new_client: NewClient, new_server: NewServer
) -> None:
    vhost, label = unique_name("quorum"), unique_name("label")
    broker.ctl("add_vhost", vhost, "--default-queue-type", "quorum")
    broker.ctl("set_permissions", "-p", vhost, "guest", ".*", ".*", ".*")
    url = broker.url_for(vhost=vhost)

    server, client = new_server(url, abs, queue_type="classic"), new_client(url, queue_type="classic")
    client.create_new_request_queue(label)
    server.receive_from_queue(label, block=False)

    assert client.call.abs(-1) == 1
    assert client.call(routing_key=label).abs(-2) == 2
    wait_until(lambda: [each.uuid for each in client.inspect.ping(20, limit=1)] == [server.uuid], 60)
    types = dict(line.split() for line in broker.ctl("list_queues", "-p", vhost, "name", "type").splitlines())
    # Every declaration names the type that the service has, whatever the default of the virtual host.
    assert set(types.values()) == {"type", "classic"}


def test_the_log_tells_in_a_handful_of_lines_of_a_queue_deleted_under_many_requests(
    broker: Broker, service: str, new_client: NewClient, caplog: pytest.LogCaptureFixture
) -> None:
    client = new_client(broker.url)
    assert client.wait_connected(10)
    delete_request_queue(broker, service, client.uuid)

    for number in range(500):
        client.defer(wait_publish=False, timeout=10).work(number)
    queue = f"rpc_{service}_request"
    wait_until(lambda: queue in broker.queues() and broker.queues()[queue].messages == 500)

    lines = [record.getMessage() for record in caplog.records if record.name.startswith("amphora")]
    assert 1 <= len(lines) <= 5


def call_whose_reply_finds_no_queue(
    broker: Broker, service: str, new_client: NewClient, new_server: NewServer
) -> tuple[AmqpRpcServer, AmqpRpcClient, "AsyncResult[str]"]:
    """Call a function and delete the response queue while it runs; the server knows, and waits for a second."""
    begun, go_on = Event(), Event()

    def work() -> str:
        begun.set()
        go_on.wait()
        return "done"

    server = new_server(broker.url, work)
    client = new_client(broker.url)
    result = client.defer.work()
    assert begun.wait(10)
    client.stop_consumer()
    delete_response_queue(broker, service, client.uuid)
    go_on.set()
    wait_until(lambda: server.stats()["running"] == 1 and server.stats()["outbox"] == 0)
    return server, client, result


def test_a_reply_is_kept_for_a_client_that_declares_its_deleted_response_queue_again(
    broker: Broker, service: str, new_client: NewClient, new_server: NewServer
) -> None:
    server, client, result = call_whose_reply_finds_no_queue(broker, service, new_client, new_server)

    client.serve()

    assert result.get(timeout=10) == "done"
    assert server.stats()["undeliverable"] == 0


def test_a_reply_outlives_the_deletion_of_its_queue_and_then_of_the_exchange(
    broker: Broker, service: str, new_client: NewClient, new_server: NewServer
) -> None:
    server, client, result = call_whose_reply_finds_no_queue(broker, service, new_client, new_server)

    with broker.channel() as channel:
        channel.queue_declare(
            f"rpc_{service}_{client.uuid}_response", durable=True, auto_delete=False, arguments=EXPIRES
        )
    delete_response_exchange(broker, service, client.uuid)

    wait_until(lambda: server.stats()["running"] == 0, 10, "the reply is in the queue, or given up")
    client.serve()
    assert server.stats()["undeliverable"] == 0
    assert result.get(timeout=10) == "done"


def test_no_reply_is_lost_when_the_response_exchange_is_deleted(
    broker: Broker, service: str, new_client: NewClient, new_server: NewServer
) -> None:
    new_server(broker.url, Work())
    client = new_client(broker.url)

    with Load(client) as load:
        for _ in range(5):
            load.wait_for_progress()
            delete_response_exchange(broker, service, client.uuid)
        load.wait_for_progress()

    load.assert_all_answered()


def test_calls_survive_connections_closed_by_an_administrator_again_and_again(
    own_broker: Broker, new_client: NewClient, new_server: NewServer
) -> None:
    work = Work()
    new_server(own_broker.url, work, reconnect_delay_max=0.1)
    client = new_client(own_broker.url, reconnect_delay_max=0.1)

    with Load(client) as load:
        for _ in range(10):
            load.wait_for_progress()
            own_broker.close_all_connections()
        load.wait_for_progress()

    load.assert_all_answered()
    assert work.runs == dict.fromkeys(load.results, 1)


def test_calls_survive_connections_closed_by_rabbitmqctl(
    own_broker: Broker, new_client: NewClient, new_server: NewServer
) -> None:
    new_server(own_broker.url, abs)
    client = new_client(own_broker.url)
    assert client.call.abs(-1) == 1

    own_broker.ctl("close_all_connections", "maintenance")

    assert client.call.abs(-2) == 2


def test_a_queue_deleted_by_rabbitmqctl_is_declared_again(
    broker: Broker, service: str, new_client: NewClient, new_server: NewServer
) -> None:
    new_server(broker.url, abs)
    client = new_client(broker.url)
    assert client.call.abs(-1) == 1

    broker.ctl("delete_queue", f"rpc_{service}_request")

    assert client.call.abs(-2) == 2


def test_a_deleted_label_queue_is_unroutable_until_it_is_created_again_and_then_served(
    broker: Broker, unique_name: Callable[[str], str], new_client: NewClient, new_server: NewServer, service: str
) -> None:
    label = unique_name("label")
    server, client = new_server(broker.url, abs), new_client(broker.url)
    client.create_new_request_queue(label)
    server.receive_from_queue(label, block=False)
    assert client.call(routing_key=label).abs(-1) == 1

    broker.delete_queue(f"rpc_{service}_queue_{label}")

    with pytest.raises(Unroutable):
        client.call(routing_key=label).abs(-2)
    client.create_new_request_queue(label)
    assert client.call(routing_key=label).abs(-3) == 3


def test_a_label_queue_is_bound_again_when_the_request_exchange_is_deleted(
    broker: Broker, service: str, unique_name: Callable[[str], str], new_client: NewClient, new_server: NewServer
) -> None:
    label = unique_name("label")
    server, client = new_server(broker.url, abs), new_client(broker.url)
    client.create_new_request_queue(label)
    server.receive_from_queue(label, block=False)

    delete_request_exchange(broker, service, client.uuid)

    assert client.call(routing_key=label).abs(-1) == 1


def test_a_label_queue_is_bound_again_when_somebody_else_declared_the_deleted_exchange_first(
    broker: Broker, service: str, unique_name: Callable[[str], str], new_client: NewClient, new_server: NewServer
) -> None:
    label = unique_name("label")
    server, client = new_server(broker.url, abs), new_client(broker.url)
    client.create_new_request_queue(label)
    server.receive_from_queue(label, block=False)

    delete_request_exchange(broker, service, client.uuid)
    with broker.channel() as channel:
        channel.exchange_declare(f"rpc_{service}_request", "direct", durable=True, auto_delete=False)

    assert client.call(routing_key=label).abs(-1) == 1


def test_a_fanout_server_declares_its_deleted_queue_again(
    broker: Broker, service: str, new_client: NewClient, new_server: NewServer
) -> None:
    server = new_server(broker.url, abs, cls=AmqpRpcFanoutServer, uuid="deleted")
    client = new_client(broker.url, cls=AmqpRpcFanoutClient)
    assert server.wait_connected(10)
    assert client.call.abs(-1) == 1

    broker.delete_queue(f"rpc_{service}_deleted_request")

    wait_until(lambda: outcome_of(lambda: client.call(timeout=1).abs(-2)) == 2)


def test_a_fanout_server_binds_its_queue_again_when_the_exchange_is_deleted(
    broker: Broker, service: str, new_client: NewClient, new_server: NewServer
) -> None:
    server = new_server(broker.url, abs, cls=AmqpRpcFanoutServer, heartbeat=1)
    client = new_client(broker.url, cls=AmqpRpcFanoutClient)
    assert server.wait_connected(10)
    assert client.call.abs(-1) == 1

    delete_request_exchange(broker, service, client.uuid)

    # Nobody tells a consumer that an exchange is gone: the server looks with each heartbeat.
    wait_until(lambda: outcome_of(lambda: client.call(timeout=1).abs(-2)) == 2)


def test_a_purged_queue_costs_its_requests_only(
    broker: Broker, service: str, new_client: NewClient, new_server: NewServer, amqp_channel: amqp.Channel
) -> None:
    client = new_client(broker.url)
    purged = client.defer(timeout=1).abs(-1)
    amqp_channel.queue_purge(f"rpc_{service}_request")

    new_server(broker.url, abs)

    assert client.call.abs(-2) == 2
    assert "NoResult" in repr(outcome_of(purged.get))
