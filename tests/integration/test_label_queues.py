"""`create_new_request_queue` and `remove_request_queue` over RabbitMQ."""

from collections.abc import Callable
from typing import Any

import amqp
import pytest

from amphora import AmqpRpcClient, AmqpRpcFanoutClient, NoResult, TopologyConflict, Unroutable
from tests.integration.conftest import NewClient, NewServer
from tests.support.broker import Broker
from tests.support.eventually import wait_until


@pytest.fixture
def label(unique_name: Callable[[str], str]) -> str:
    """A label that no other test uses."""
    return unique_name("user")


def taken_from(queue: str, channel: amqp.Channel) -> str | None:
    """Take a request from a queue and give its routing key, or None."""
    message = channel.basic_get(queue, no_ack=True)
    return None if message is None else str(message.delivery_info["routing_key"])


def greet(name: str) -> str:
    return f"Hello, {name}!"


def test_a_queue_is_there_when_creating_it_returns(
    client: AmqpRpcClient, broker: Broker, label: str, service: str
) -> None:
    client.create_new_request_queue(label)

    assert f"rpc_{service}_queue_{label}" in broker.queues()


def test_its_routing_key_is_the_label(
    client: AmqpRpcClient, amqp_channel: amqp.Channel, label: str, service: str
) -> None:
    client.create_new_request_queue(label)

    client.defer(routing_key=label).greet("Alice")

    assert taken_from(f"rpc_{service}_queue_{label}", amqp_channel) == label


def test_its_routing_key_may_be_another(
    client: AmqpRpcClient, amqp_channel: amqp.Channel, label: str, service: str
) -> None:
    client.create_new_request_queue(label, routing_key=f"key of {label}")

    client.defer(routing_key=f"key of {label}").greet("Alice")

    assert taken_from(f"rpc_{service}_queue_{label}", amqp_channel) == f"key of {label}"
    with pytest.raises(Unroutable):
        client.defer(routing_key=label).greet("Alice")


def test_queues_with_one_routing_key_each_get_the_request(
    client: AmqpRpcClient, amqp_channel: amqp.Channel, label: str, service: str
) -> None:
    for number in (1, 2):
        client.create_new_request_queue(f"{label}{number}", routing_key=label)

    client.defer(routing_key=label).greet("both")

    assert [taken_from(f"rpc_{service}_queue_{label}{number}", amqp_channel) for number in (1, 2)] == [label, label]


def test_a_request_may_follow_at_once_where_creating_does_not_wait(
    client: AmqpRpcClient, amqp_channel: amqp.Channel, label: str, service: str
) -> None:
    for number in range(20):
        client.create_new_request_queue(f"{label}{number}", nowait=True)
        client.defer(routing_key=f"{label}{number}", wait_publish=number == 19).greet("Alice")

    assert all(taken_from(f"rpc_{service}_queue_{label}{number}", amqp_channel) for number in range(20))


def test_a_queue_can_be_created_right_after_the_client(
    new_client: NewClient, broker: Broker, label: str, service: str
) -> None:
    new_client().create_new_request_queue(label)

    assert f"rpc_{service}_queue_{label}" in broker.queues()


def test_a_queue_holds_its_requests_until_a_server_receives_from_it(
    client: AmqpRpcClient, new_server: NewServer, label: str
) -> None:
    client.create_new_request_queue(label)
    result = client.defer(routing_key=label).greet("Alice")

    new_server(greet).receive_from_queue(label, block=False)

    assert result.get(timeout=20) == "Hello, Alice!"


def test_requests_of_a_label_do_not_go_to_the_services_own_queue(
    client: AmqpRpcClient, amqp_channel: amqp.Channel, service: str, label: str
) -> None:
    client.create_new_request_queue(label)

    client.defer(routing_key=label).greet("Alice")

    assert taken_from(f"rpc_{service}_request", amqp_channel) is None


def test_x_expires_is_in_milliseconds(client: AmqpRpcClient, broker: Broker, label: str, service: str) -> None:
    client.create_new_request_queue(label, x_expires=60_000)

    assert broker.queues()[f"rpc_{service}_queue_{label}"].arguments == {"x-expires": 60_000, "x-queue-type": "classic"}


def test_an_unused_queue_goes_after_x_expires(client: AmqpRpcClient, broker: Broker, label: str, service: str) -> None:
    client.create_new_request_queue(label, x_expires=100)

    wait_until(lambda: f"rpc_{service}_queue_{label}" not in broker.queues())
    with pytest.raises(Unroutable):
        client.call(routing_key=label).greet("Alice")


def test_creating_a_queue_twice_changes_nothing(
    client: AmqpRpcClient, new_client: NewClient, amqp_channel: amqp.Channel, label: str, service: str
) -> None:
    client.create_new_request_queue(label)
    client.defer(routing_key=label).greet("Alice")

    client.create_new_request_queue(label)
    new_client().create_new_request_queue(label)

    assert taken_from(f"rpc_{service}_queue_{label}", amqp_channel) == label


def test_creating_a_queue_with_another_x_expires_is_a_conflict_that_names_the_queue(
    client: AmqpRpcClient, label: str, service: str
) -> None:
    client.create_new_request_queue(label, x_expires=60_000)

    with pytest.raises(TopologyConflict, match=f"inequivalent arg 'x-expires' for queue 'rpc_{service}_queue_{label}'"):
        client.create_new_request_queue(label, x_expires=30_000)


@pytest.mark.expects_errors("with other properties than Amphora declares")
def test_a_conflict_leaves_the_client_working(client: AmqpRpcClient, new_server: NewServer, label: str) -> None:
    client.create_new_request_queue(label, x_expires=60_000)
    new_server(greet)

    client.create_new_request_queue(label, nowait=True)

    assert client.call.greet("Bob") == "Hello, Bob!"
    client.create_new_request_queue(f"{label}2")
    client.defer(routing_key=f"{label}2").greet("Alice")


def test_a_removed_queue_is_gone_with_its_requests(
    client: AmqpRpcClient, broker: Broker, amqp_channel: amqp.Channel, label: str, service: str
) -> None:
    client.create_new_request_queue(label)
    client.defer(routing_key=label).greet("Alice")

    client.remove_request_queue(label)

    assert f"rpc_{service}_queue_{label}" not in broker.queues()
    client.create_new_request_queue(label)
    assert taken_from(f"rpc_{service}_queue_{label}", amqp_channel) is None


def test_a_request_to_a_removed_queue_is_unroutable(client: AmqpRpcClient, label: str) -> None:
    client.create_new_request_queue(label)

    client.remove_request_queue(label)

    with pytest.raises(Unroutable, match=label):
        client.call(routing_key=label).greet("Alice")


def test_removing_a_queue_that_does_not_exist_is_no_error(
    client: AmqpRpcClient, new_server: NewServer, label: str
) -> None:
    client.remove_request_queue(label)

    new_server(greet)
    assert client.call.greet("Alice") == "Hello, Alice!"


def test_a_queue_that_another_client_made_can_be_removed(
    client: AmqpRpcClient, new_client: NewClient, broker: Broker, label: str, service: str
) -> None:
    client.create_new_request_queue(label)

    new_client().remove_request_queue(label)

    assert f"rpc_{service}_queue_{label}" not in broker.queues()


def test_a_queue_that_is_removed_and_created_at_once_is_there(
    client: AmqpRpcClient, broker: Broker, label: str, service: str
) -> None:
    client.create_new_request_queue(label)

    client.remove_request_queue(label)
    client.create_new_request_queue(label)

    assert f"rpc_{service}_queue_{label}" in broker.queues()


@pytest.mark.parametrize("last_turn", ["create", "remove"])
def test_queues_created_and_removed_in_quick_turns_end_as_the_last_turn_says(
    client: AmqpRpcClient, broker: Broker, label: str, last_turn: str, service: str
) -> None:
    for _ in range(30):
        client.create_new_request_queue(label, nowait=True)
        client.remove_request_queue(label, nowait=True)
    if last_turn == "create":
        client.create_new_request_queue(label, nowait=True)

    # Commands are done in order: what waits for its own has waited for those before it.
    client.create_new_request_queue(f"{label}2")
    assert (f"rpc_{service}_queue_{label}" in broker.queues()) == (last_turn == "create")


def test_both_sides_refuse_a_label_that_gives_the_services_own_queue(
    new_client: NewClient, new_server: NewServer, service: str
) -> None:
    client = new_client(queue_template="rpc_{label}_request")
    server = new_server(queue_template="rpc_{label}_request")
    refusal = f"'rpc_{service}_request', the request queue of the service itself"

    with pytest.raises(ValueError, match=refusal):
        client.create_new_request_queue(service)
    with pytest.raises(ValueError, match=refusal):
        client.remove_request_queue(service)
    with pytest.raises(ValueError, match=refusal):
        server.receive_from_queue(service)


@pytest.mark.parametrize("label", ["x" * 250, "世" * 83, ""], ids=["long", "long in bytes", "empty"])
def test_both_sides_refuse_a_label_that_makes_no_amqp_name(
    client: AmqpRpcClient, new_server: NewServer, label: str
) -> None:
    server = new_server()

    for refusing in (client.create_new_request_queue, client.remove_request_queue, server.receive_from_queue):
        with pytest.raises(ValueError, match="label"):
            refusing(label)


def test_the_longest_name_that_amqp_allows_works(
    client: AmqpRpcClient, new_server: NewServer, label: str, service: str
) -> None:
    longest = label + "x" * (255 - len(f"rpc_{service}_queue_{label}"))
    client.create_new_request_queue(longest)

    new_server(greet).receive_from_queue(longest, block=False)

    assert client.call(routing_key=longest).greet("Alice") == "Hello, Alice!"


def test_any_text_may_be_a_label(client: AmqpRpcClient, new_server: NewServer, label: str) -> None:
    odd = f"{label}.*# grüße/{{world}} 世界"
    client.create_new_request_queue(odd)

    new_server(greet).receive_from_queue(odd, block=False)

    assert client.call(routing_key=odd).greet("Alice") == "Hello, Alice!"


def test_labels_of_two_services_are_kept_apart(
    new_client: NewClient, new_server: NewServer, service: str, label: str
) -> None:
    answers: list[Any] = []
    for name in (f"{service}1", f"{service}2"):
        client = new_client(service_name=name)
        client.create_new_request_queue(label)
        server = new_server(service_name=name)
        server.add_function(lambda name=name: name, name="name")
        server.receive_from_queue(label, block=False)
        answers += [client.call(routing_key=label).name() for _ in range(3)]

    assert answers == [f"{service}1"] * 3 + [f"{service}2"] * 3


def test_a_label_that_is_spelled_like_another_service_leaves_its_queue_and_requests_alone(
    new_client: NewClient, new_server: NewServer, service: str, broker: Broker
) -> None:
    chat = new_client(service_name=f"{service}_chat")
    orders = new_client()
    orders.defer.greet("Alice")

    chat.create_new_request_queue(service)
    with pytest.raises(NoResult):
        chat.call(routing_key=service, timeout=0.2).greet("Bob")
    chat.remove_request_queue(service)

    assert broker.queues()[f"rpc_{service}_request"].ready == 1
    new_server(greet)
    assert orders.call.greet("Alice") == "Hello, Alice!"


def test_a_label_queue_of_a_fanout_service_gets_every_request_whatever_its_routing_key(
    new_client: NewClient, amqp_channel: amqp.Channel, label: str, service: str
) -> None:
    client = new_client(cls=AmqpRpcFanoutClient)
    client.create_new_request_queue(label)

    client.defer.greet("everybody")
    client.defer(routing_key=label).greet("Alice")

    assert [taken_from(f"rpc_{service}_queue_{label}", amqp_channel) for _ in range(2)] == ["", label]


def test_a_server_runs_a_request_once_that_came_to_it_by_two_queues(
    client: AmqpRpcClient, new_server: NewServer, label: str
) -> None:
    for number in (1, 2):
        client.create_new_request_queue(f"{label}{number}", routing_key=label)
    server = new_server(greet)
    for number in (1, 2):
        server.receive_from_queue(f"{label}{number}", block=False)

    assert client.call(routing_key=label).greet("Alice") == "Hello, Alice!"

    wait_until(lambda: server.stats()["duplicates"] == 1)
    assert server.stats()["requests"] == 1
