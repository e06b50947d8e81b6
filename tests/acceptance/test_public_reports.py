"""Faults that users of other libraries reported with settings of RabbitMQ 4: calls are answered with them too.

Further reports have their numbers in `test_broker_releases`.
"""

import pytest

from amphora import AmqpRpcFanoutClient, AmqpRpcFanoutServer, MessageTooLarge
from tests.acceptance.conftest import NewClient, NewServer
from tests.acceptance.work import Work
from tests.conftest import StartBroker
from tests.support.broker import Broker
from tests.support.eventually import wait_until


@pytest.fixture
def strict_broker(broker: Broker, start_broker: StartBroker) -> Broker:
    """A node that permits no transient queues, unless they are exclusive (kombu 2237, celery 10290)."""
    if broker.release < (4, 0):
        pytest.skip("this release has no such setting")
    return start_broker({"deprecated_features.permit.transient_nonexcl_queues": "false"})


@pytest.mark.parametrize("queue_type", ["classic", "quorum"])
def test_a_broker_that_permits_no_transient_queues_has_all_the_queues_of_a_service(
    strict_broker: Broker, service: str, new_client: NewClient, new_server: NewServer, queue_type: str
) -> None:
    url = strict_broker.url
    server = new_server(url, Work(), queue_type=queue_type, delivery_limit=3)
    client = new_client(url, timeout=60, queue_type=queue_type)
    client.create_new_request_queue(service)
    server.receive_from_queue(service, block=False)

    assert client.call.work(1) == 1
    assert client.call(routing_key=service).work(2) == 2
    # By the control queue, which is declared last.
    wait_until(lambda: client.inspect.ping(limit=1), 30)
    assert all(each.durable for each in strict_broker.queues().values())


def test_a_broker_that_permits_no_transient_queues_has_those_of_a_fanout_service(
    strict_broker: Broker, service: str, new_client: NewClient, new_server: NewServer
) -> None:
    url = strict_broker.url
    server = new_server(url, Work(), cls=AmqpRpcFanoutServer)
    assert server.wait_connected(30)
    client = new_client(url, cls=AmqpRpcFanoutClient, timeout=60)

    assert client.call.work(1) == 1


def test_a_request_above_the_default_limit_of_16_mib_fails_alone(
    broker: Broker, service: str, new_client: NewClient, new_server: NewServer
) -> None:
    """The lower default of `max_message_size` since 4.0 (rabbitmq-server 11455)."""
    if broker.release < (4, 0):
        pytest.skip("the limit of this release is 128 MiB")
    new_server(broker.url, Work())
    client = new_client(broker.url, timeout=60)
    before = [client.defer(wait_publish=False).work(number) for number in range(10)]
    large = client.defer(wait_publish=False).work("x" * (17 << 20))
    after = [client.defer(wait_publish=False).work(number) for number in range(10, 20)]

    with pytest.raises(MessageTooLarge) as caught:
        large.get()
    assert caught.value.limit == 16 << 20
    assert [result.get() for result in (*before, *after)] == list(range(20))
    assert client.stats()["reconnects"] == 0
