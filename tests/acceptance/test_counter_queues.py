"""The queues that count tries are classic, whatever the default type of the virtual host or the node."""

from collections.abc import Callable
from typing import Any

import amqp
import pytest
from gevent.event import Event

from amphora import DeadLettered
from amphora.protocol.dead_letters import identity
from amphora.protocol.names import Names
from tests.acceptance.conftest import NewClient, NewServer
from tests.conftest import StartBroker
from tests.support.broker import Broker
from tests.support.eventually import wait_until

LIMIT = 5
EXPIRES = 24 * 60 * 60 * 1000


@pytest.fixture
def quorum_vhost(broker: Broker, unique_name: Callable[[str], str]) -> str:
    """A virtual host whose default queue type is quorum."""
    name = unique_name("quorum")
    broker.ctl("add_vhost", name, "--default-queue-type", "quorum")
    broker.ctl("set_permissions", "--vhost", name, "guest", ".*", ".*", ".*")
    return name


def give_back(channel: amqp.Channel, queue: str) -> str:
    """Take a request and give it back, so that it counts as tried; return its identity."""
    taken: list[Any] = []
    wait_until(lambda: taken.append(channel.basic_get(queue)) or taken[-1] is not None)  # type: ignore[func-returns-value]
    message = taken[-1]
    channel.basic_reject(message.delivery_tag, requeue=True)
    body = message.body
    return identity(message.properties, body.encode() if isinstance(body, str) else body)


def counter_of_a_redelivered_request(
    broker: Broker, service: str, new_client: NewClient, new_server: NewServer, vhost: str
) -> Any:
    """Return what the broker tells of the counter while the request runs."""
    began, go_on = Event(), Event()

    def work(number: int) -> int:
        began.set()
        assert go_on.wait(30)
        return number

    url = broker.url_for(vhost=vhost)
    client = new_client(url, timeout=60)
    result = client.defer.work(1)
    with broker.channel(virtual_host=vhost) as channel:
        name = Names(service).tries_queue(give_back(channel, f"rpc_{service}_request"))

    new_server(url, work, delivery_limit=LIMIT)
    assert began.wait(30)
    counter = broker.queues(vhost)[name]
    go_on.set()
    assert result.get() == 1
    wait_until(lambda: name not in broker.queues(vhost), 20, "the counter is deleted")
    return counter


def test_counters_are_classic_where_the_virtual_host_defaults_to_quorum_queues(
    broker: Broker, service: str, new_client: NewClient, new_server: NewServer, quorum_vhost: str
) -> None:
    counter = counter_of_a_redelivered_request(broker, service, new_client, new_server, quorum_vhost)

    assert counter.arguments == {"x-queue-type": "classic", "x-expires": EXPIRES}
    assert counter.messages == 1


def test_counters_are_classic_where_the_node_defaults_to_quorum_queues(
    broker: Broker, service: str, new_client: NewClient, new_server: NewServer, start_broker: StartBroker
) -> None:
    if broker.release < (4, 0):
        pytest.skip("this release has no such setting")
    node = start_broker({"default_queue_type": "quorum"})

    counter = counter_of_a_redelivered_request(node, service, new_client, new_server, "/")

    assert counter.arguments == {"x-queue-type": "classic", "x-expires": EXPIRES}


@pytest.mark.parametrize("in_quorum_vhost", [False, True])
def test_tries_that_an_earlier_release_counted_are_in_the_count(
    broker: Broker,
    service: str,
    new_client: NewClient,
    new_server: NewServer,
    quorum_vhost: str,
    in_quorum_vhost: bool,
) -> None:
    vhost = quorum_vhost if in_quorum_vhost else "/"
    url = broker.url_for(vhost=vhost)
    client = new_client(url, timeout=60)
    result = client.defer.work(1)
    with broker.channel(virtual_host=vhost) as channel:
        name = Names(service).tries_queue(give_back(channel, f"rpc_{service}_request"))
        # As 1.0.0a1 declared it: of the default type.
        channel.queue_declare(name, durable=True, auto_delete=False, arguments={"x-expires": EXPIRES})
        for _ in range(LIMIT - 1):
            channel.basic_publish(amqp.Message(b"", delivery_mode=2), "", name)
        wait_until(lambda: channel.queue_declare(name, passive=True).message_count == LIMIT - 1)

    server = new_server(url, lambda: None, delivery_limit=LIMIT)

    with pytest.raises(DeadLettered, match=f"given up after {LIMIT} tries"):
        result.get()
    wait_until(lambda: name not in broker.queues(vhost), 20, "the counter is deleted")
    assert server.stats()["reconnects"] == 0
