"""`server.receive_from_queue` over RabbitMQ, several at once, and from queues that come and go."""

from functools import partial
from typing import Any

import gevent
import pytest

from amphora import AmqpRpcClient, AmqpRpcServer
from tests.integration.conftest import NewClient, NewServer
from tests.integration.functions import Noting
from tests.integration.receiving import received, send
from tests.support.broker import Broker
from tests.support.eventually import wait_until

# wait_for_queue


def test_it_waits_for_a_queue_that_does_not_exist_yet(server: AmqpRpcServer, client: AmqpRpcClient, label: str) -> None:
    receiving = received(server, label, max_calls=1, timeout=20)
    wait_until(
        lambda: bool([each for each in server._consumer._machine.wishes if each.missing]),
        message="the server has looked for the queue",
    )

    client.create_new_request_queue(label)

    assert client.call(routing_key=label).note(5) == 5
    assert receiving.get(timeout=20) == 1


def test_waiting_for_the_queue_counts_for_the_timeout(server: AmqpRpcServer, label: str) -> None:
    with pytest.raises(gevent.Timeout):
        server.receive_from_queue(label, max_calls=1, timeout=0.2)


def test_waiting_for_the_queue_without_max_calls_ends_with_none_handled(server: AmqpRpcServer, label: str) -> None:
    assert server.receive_from_queue(label, timeout=0.2) == 0


@pytest.mark.parametrize("block", [True, False])
def test_a_missing_queue_is_a_value_error_where_it_shall_not_wait(
    server: AmqpRpcServer, label: str, block: bool, service: str
) -> None:
    with pytest.raises(ValueError, match=f"queue 'rpc_{service}_queue_{label}' .* does not exist"):
        server.receive_from_queue(label, block=block, wait_for_queue=False)


def test_a_missing_queue_disturbs_nothing_else(server: AmqpRpcServer, client: AmqpRpcClient, label: str) -> None:
    with pytest.raises(ValueError, match="does not exist"):
        server.receive_from_queue(label, wait_for_queue=False)
    server.receive_from_queue(label, block=False)

    assert [client.call.note(number) for number in range(10)] == list(range(10))


def test_an_existing_queue_is_received_from_where_it_shall_not_wait(
    server: AmqpRpcServer, client: AmqpRpcClient, alice: str
) -> None:
    send(client, alice, 1)

    assert server.receive_from_queue(alice, max_calls=1, timeout=20, wait_for_queue=False) == 1


def test_it_may_be_called_right_after_the_server_was_made(
    new_server: NewServer, note: Noting, client: AmqpRpcClient, alice: str
) -> None:
    send(client, alice, 1)

    assert new_server(note).receive_from_queue(alice, max_calls=1, timeout=20, wait_for_queue=False) == 1


# several at once


def test_several_labels_can_be_received_from_at_once(server: AmqpRpcServer, client: AmqpRpcClient, label: str) -> None:
    labels = [f"{label}{number}" for number in range(10)]
    receiving = [received(server, each, max_calls=3, timeout=20) for each in labels]
    for each in labels:
        client.create_new_request_queue(each)

    results = [client.defer(routing_key=each).note(each) for each in labels * 3]

    assert [result.get(timeout=20) for result in results] == labels * 3
    assert [each.get(timeout=20) for each in receiving] == [3] * 10


def test_several_receives_of_one_label_each_take_their_number(
    server: AmqpRpcServer, note: Noting, client: AmqpRpcClient, alice: str, broker: Broker, service: str
) -> None:
    receiving = [received(server, alice, max_calls=n, timeout=20) for n in (1, 2, 3, 4)]
    wait_until(lambda: broker.queues()[f"rpc_{service}_queue_{alice}"].consumers == 4)

    send(client, alice, 50)

    assert [each.get(timeout=20) for each in receiving] == [1, 2, 3, 4]
    wait_until(lambda: broker.queues()[f"rpc_{service}_queue_{alice}"].ready == 40)
    assert len(note.runs) == len(set(note.runs)) == 10


def test_the_end_of_one_receive_leaves_another_of_the_same_label(
    server: AmqpRpcServer, client: AmqpRpcClient, alice: str
) -> None:
    server.receive_from_queue(alice, block=False)

    server.receive_from_queue(alice, timeout=0.1)

    assert client.call(routing_key=alice).note(5) == 5


def test_the_services_own_queue_is_served_meanwhile(server: AmqpRpcServer, client: AmqpRpcClient, alice: str) -> None:
    receiving = received(server, alice, max_calls=1, timeout=20)

    assert client.call.note("own") == "own"

    client.call(routing_key=alice).note("label")
    assert receiving.get(timeout=20) == 1


def test_a_running_function_may_receive(new_server: NewServer, client: AmqpRpcClient, alice: str) -> None:
    server = new_server(Noting())

    @server.add_function
    def wait_for_message() -> int | None:
        return server.receive_from_queue(alice, max_calls=1, timeout=20)

    result = client.defer.wait_for_message()
    client.call(routing_key=alice).note("a message")

    assert result.get(timeout=20) == 1


# what is deleted or cut off under it


def test_it_goes_on_when_its_queue_is_deleted_and_created_again(
    server: AmqpRpcServer, client: AmqpRpcClient, alice: str, broker: Broker
) -> None:
    receiving = received(server, alice, max_calls=2, timeout=30)
    assert client.call(routing_key=alice).note(1) == 1

    client.remove_request_queue(alice)
    client.create_new_request_queue(alice)

    assert client.call(routing_key=alice).note(2) == 2
    assert receiving.get(timeout=20) == 2


def test_the_services_own_queue_is_served_when_a_labels_queue_is_deleted(
    server: AmqpRpcServer, client: AmqpRpcClient, alice: str
) -> None:
    server.receive_from_queue(alice, block=False)
    assert client.call(routing_key=alice).note(1) == 1

    client.remove_request_queue(alice)

    assert client.call.note(2) == 2


def test_a_receive_before_serve_gets_its_requests_when_it_serves(
    broker: Broker, service: str, note: Noting, client: AmqpRpcClient, alice: str
) -> None:
    server = AmqpRpcServer(service, broker_url=broker.url)
    server.add_function(note)
    result = client.defer(routing_key=alice).note(5)

    server.receive_from_queue(alice, block=False)
    with server:
        assert result.get(timeout=20) == 5


def test_the_tutorials_api_server_hands_a_message_to_the_waiting_request(
    new_server: NewServer, new_client: NewClient, label: str
) -> None:
    server, core, events = new_server(), new_client(), dict[str, str]()

    @server.add_function
    def user_show_message(username: str, message: str) -> None:
        events[username] = message

    @core.tune_function("user_show_message")
    def message_tune_function(args: Any, kwargs: Any) -> Any:
        return args[0] if args else kwargs.get("username")

    def user_get_message(username: str) -> dict[str, Any]:
        try:
            server.receive_from_queue(username, max_calls=1, timeout=10, block=True)
        except gevent.Timeout:
            return {"ok": True, "message": None}
        return {"ok": True, "message": events.pop(username)}

    core.create_new_request_queue(label)
    request = gevent.spawn(user_get_message, label)
    core.defer.user_show_message(label, "Hello, Alice!")

    assert request.get(timeout=20) == {"ok": True, "message": "Hello, Alice!"}


def test_a_receive_that_begins_while_the_server_subscribes_to_another_queue_is_not_forgotten(
    new_server: NewServer, client: AmqpRpcClient, alice: str, broker: Broker, service: str
) -> None:
    # Without heartbeats nothing else wakes the connection.
    server = new_server(connected=True, heartbeat=0)

    def consumers() -> int:
        return broker.queues()[f"rpc_{service}_queue_{alice}"].consumers

    for number in range(1, 31):
        server.receive_from_queue(alice, block=False)
        gevent.sleep(number / 10_000)
        server.receive_from_queue(alice, block=False)
        wait_until(partial(lambda wanted: consumers() == wanted, 2 * number))
