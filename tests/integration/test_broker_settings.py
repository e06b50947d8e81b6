"""What settings and policies of RabbitMQ do to calls: docs/operations.md tells it."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from amphora import AmqpRpcClient, PublishNacked, TopologyConflict, Unroutable
from tests.integration.conftest import NewClient, NewServer
from tests.integration.functions import Noting
from tests.support.broker import Broker
from tests.support.eventually import wait_until as wait_for_up_to

# Long enough for a busy machine.
wait_until = partial(wait_for_up_to, timeout=60)
TIMEOUT = 60


@pytest.fixture
def queue(service: str) -> str:
    """The service's request queue."""
    return f"rpc_{service}_request"


class Policy:
    """A policy for what has one name, which can be changed and cleared."""

    def __init__(self, broker: Broker, name: str) -> None:
        self._broker = broker
        self._name = name
        self._is_set = False

    def set(self, definition: dict[str, Any], apply_to: str = "queues") -> None:
        self._broker.set_policy(self._name, f"^{self._name}$", definition, apply_to=apply_to)
        self._is_set = True

    def clear(self) -> None:
        if self._is_set:
            self._broker.clear_policy(self._name)
        self._is_set = False


@pytest.fixture
def policy(broker: Broker, queue: str) -> Iterator[Policy]:
    """A policy for the request queue, or its exchange, which ends with the test."""
    made = Policy(broker, queue)
    yield made
    made.clear()


def test_the_policy_of_a_message_ttl_takes_requests_that_wait_and_nobody_tells_their_callers(
    broker: Broker, client: AmqpRpcClient, new_server: NewServer, note: Noting, queue: str, policy: Policy
) -> None:
    assert client.wait_connected(30)
    policy.set({"message-ttl": 100})

    waiting = client.defer(timeout=TIMEOUT).note("expired")
    wait_until(lambda: broker.queues()[queue].messages == 0)
    policy.clear()

    new_server(note)
    assert client.call(timeout=TIMEOUT).note("later") == "later"
    assert note.runs == ["later"]
    assert not waiting.ready()


@pytest.mark.endpoints(queue_type="classic")
def test_the_policy_of_a_length_takes_the_oldest_requests_or_refuses_the_newest(
    client: AmqpRpcClient, new_server: NewServer, note: Noting, policy: Policy
) -> None:
    assert client.wait_connected(30)
    policy.set({"max-length": 2})
    results = [client.defer(timeout=TIMEOUT).note(number) for number in range(5)]
    policy.set({"max-length": 2, "overflow": "reject-publish"})

    with pytest.raises(PublishNacked, match=r"is a queue full\?"):
        client.call(timeout=TIMEOUT).note(5)

    new_server(note)
    assert [result.get() for result in results[3:]] == [3, 4]
    assert note.runs == [3, 4]
    assert not any(result.ready() for result in results[:3])


def test_the_policy_of_an_expiry_deletes_the_request_queue_which_the_next_call_restores(
    broker: Broker, client: AmqpRpcClient, new_server: NewServer, note: Noting, queue: str, policy: Policy
) -> None:
    assert client.wait_connected(30)
    policy.set({"expires": 100})
    wait_until(lambda: queue not in broker.queues())
    policy.clear()

    waiting = client.defer(timeout=TIMEOUT).note(1)

    new_server(note)
    assert waiting.get() == 1


def test_the_policy_of_an_alternate_exchange_hides_that_nobody_takes_a_request(
    broker: Broker, client: AmqpRpcClient, unique_name: Callable[[str], str], policy: Policy
) -> None:
    with pytest.raises(Unroutable):
        client.call(routing_key="nobody").work()
    lost = unique_name("lost")
    with broker.channel() as channel:
        channel.exchange_declare(lost, "fanout", durable=True, auto_delete=False)
        channel.queue_declare(lost, durable=True, auto_delete=False)
        channel.queue_bind(lost, lost)
    policy.set({"alternate-exchange": lost}, "exchanges")

    waiting = client.defer(routing_key="nobody", timeout=TIMEOUT).work()

    wait_until(lambda: broker.queues()[lost].messages == 1)
    assert not waiting.ready()
    broker.delete_exchange(lost)
    broker.delete_queue(lost)


def test_a_client_above_the_limit_of_connections_waits_until_there_is_room(
    broker: Broker,
    unique_name: Callable[[str], str],
    new_client: NewClient,
    new_server: NewServer,
    note: Noting,
    caplog: pytest.LogCaptureFixture,
) -> None:
    user = unique_name("limited")
    broker.add_user(user, "secret")
    broker.set_user_limits(user, {"max-connections": 0})
    client = new_client(broker_url=broker.url_for(user=user, password="secret"))
    waiting = client.defer(timeout=TIMEOUT, wait_publish=False).note(1)
    wait_until(lambda: "user connection limit (0) is reached" in caplog.text)

    broker.set_user_limits(user, {"max-connections": -1})

    new_server(note)
    assert waiting.get() == 1


@pytest.mark.expects_errors("queue limit in vhost")
def test_a_limit_of_queues_is_an_error_that_names_the_queue(
    broker: Broker, unique_name: Callable[[str], str], new_client: NewClient
) -> None:
    vhost = unique_name("few")
    broker.add_vhost(vhost)
    broker.set_vhost_limits(vhost, {"max-queues": 0})
    client = new_client(broker_url=broker.url_for(vhost=vhost))

    with pytest.raises(TopologyConflict, match=r"cannot declare queue 'rpc_.*queue limit in vhost .* is reached"):
        client.call(timeout=TIMEOUT).work()


@pytest.fixture
def shorter_heartbeat(broker: Broker) -> Iterator[None]:
    """Let the broker ask for heartbeats every seven seconds, on connections that are opened from now on."""
    usual = broker.eval("element(2, application:get_env(rabbit, heartbeat))")
    broker.eval("application:set_env(rabbit, heartbeat, 7)")
    yield
    broker.eval(f"application:set_env(rabbit, heartbeat, {usual})")


def test_an_endpoint_has_two_connections_with_few_channels_and_the_shorter_heartbeat_of_both_sides(
    broker: Broker, new_server: NewServer, client: AmqpRpcClient, service: str, shorter_heartbeat: None
) -> None:
    server = new_server(connected=True)
    new_server(connected=True, heartbeat=5, service_name=f"{service}2")

    # A channel each: what happens to a label queue costs nothing else.
    for label in (f"{service}_red", f"{service}_blue"):
        client.create_new_request_queue(label)
        server.receive_from_queue(label, block=False)

    def seen(of: str) -> list[tuple[int, int]]:
        named = [(each.client_properties.get("connection_name", ""), each) for each in broker.connections()]
        return sorted((each.channels, each.heartbeat) for name, each in named if name.startswith(f"{of} server "))

    # For declarations, for looking, for the requests and for the questions to all servers.
    wait_until(lambda: seen(service) == [(2, 7), (4 + 2, 7)])
    assert seen(f"{service}2") == [(2, 5), (4, 5)]
