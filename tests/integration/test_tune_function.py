"""`client.tune_function`: the routing key of a call by its arguments."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import amqp
import pytest

from amphora import AmqpRpcClient, Unroutable
from tests.integration.conftest import NewServer


@pytest.fixture
def alice(client: AmqpRpcClient, unique_name: Callable[[str], str]) -> str:
    """A label whose queue exists."""
    label = unique_name("Alice")
    client.create_new_request_queue(label)
    return label


def by_username(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    return args[0] if args else kwargs.get("username")


def is_in(queue: str, channel: amqp.Channel) -> bool:
    """Take one request from a queue, if it holds one."""
    return channel.basic_get(queue, no_ack=True) is not None


def test_a_string_is_the_routing_key(
    client: AmqpRpcClient, amqp_channel: amqp.Channel, alice: str, service: str
) -> None:
    client.tune_function("show_message")(by_username)

    client.defer.show_message(alice, "Goodbye, Alice!")

    assert is_in(f"rpc_{service}_queue_{alice}", amqp_channel)


def test_a_dict_holds_the_routing_key(
    client: AmqpRpcClient, amqp_channel: amqp.Channel, alice: str, service: str
) -> None:
    client.tune_function("show_message")(lambda _, kwargs: {"routing_key": kwargs["user_id"]})

    client.defer.show_message("Hello!", user_id=alice)

    assert is_in(f"rpc_{service}_queue_{alice}", amqp_channel)


def test_the_queue_in_a_dict_is_accepted_and_ignored(
    client: AmqpRpcClient, amqp_channel: amqp.Channel, alice: str, service: str
) -> None:
    client.tune_function("show_message")(lambda *_: {"queue": "no such queue", "routing_key": alice})

    client.defer.show_message("Hello!")

    assert is_in(f"rpc_{service}_queue_{alice}", amqp_channel)


def test_none_is_the_services_own_queue(
    client: AmqpRpcClient, amqp_channel: amqp.Channel, service: str, alice: str
) -> None:
    client.tune_function("show_message")(by_username)

    client.defer.show_message()

    assert is_in(f"rpc_{service}_request", amqp_channel)
    assert not is_in(f"rpc_{service}_queue_{alice}", amqp_channel)


def test_other_functions_are_not_tuned(
    client: AmqpRpcClient, amqp_channel: amqp.Channel, service: str, alice: str
) -> None:
    client.tune_function("show_message")(by_username)

    client.defer.hide_message(alice)

    assert is_in(f"rpc_{service}_request", amqp_channel)


def test_a_dotted_name_can_be_tuned(
    client: AmqpRpcClient, amqp_channel: amqp.Channel, alice: str, service: str
) -> None:
    client.tune_function("messages.show")(by_username)

    client.defer.messages.show(alice)

    assert is_in(f"rpc_{service}_queue_{alice}", amqp_channel)


def test_the_tuning_function_gets_args_and_kwargs_as_two_values(client: AmqpRpcClient) -> None:
    shown: list[Any] = []
    client.tune_function("show_message")(lambda *given: shown.append(given))

    client.defer.show_message("Alice", 5, text="Hello!")

    assert shown == [(("Alice", 5), {"text": "Hello!"})]


def test_as_a_decorator_it_returns_the_function(client: AmqpRpcClient) -> None:
    decorated = client.tune_function("show_message")(by_username)

    assert decorated is by_username


def test_a_routing_key_of_the_call_goes_before_the_tuned_one(
    client: AmqpRpcClient, amqp_channel: amqp.Channel, alice: str, service: str
) -> None:
    client.tune_function("show_message")(lambda *_: "somebody else")

    client.defer(routing_key=alice).show_message("Hello!")

    assert is_in(f"rpc_{service}_queue_{alice}", amqp_channel)


@pytest.mark.parametrize("answer", [5, b"Alice", ["Alice"], {"queue": "Alice"}, {"routing_key": 5}], ids=repr)
def test_anything_else_is_a_type_error_that_names_the_function(client: AmqpRpcClient, answer: Any) -> None:
    client.tune_function("show_message")(lambda *_: answer)

    with pytest.raises(TypeError, match="'show_message' returned"):
        client.call.show_message("Alice")


def test_a_tuned_key_that_no_queue_is_bound_with_is_unroutable(client: AmqpRpcClient) -> None:
    client.tune_function("show_message")(by_username)

    with pytest.raises(Unroutable, match="routing key 'nobody'"):
        client.call.show_message("nobody")


def test_a_tuned_call_is_answered_by_the_server_that_receives_from_that_queue(
    client: AmqpRpcClient, new_server: NewServer, alice: str
) -> None:
    def show_message(username: str, text: str) -> str:
        return f"{text} to {username}"

    client.tune_function("show_message")(by_username)
    new_server(show_message).receive_from_queue(alice, block=False)

    assert client.call.show_message(alice, "Goodbye") == f"Goodbye to {alice}"
