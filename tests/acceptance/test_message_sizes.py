"""Messages that are too large for the settings or for the broker: they fail alone."""

import pytest

from amphora import MessageTooLarge, RemoteException
from tests.acceptance.conftest import NewClient, NewServer
from tests.acceptance.work import Work
from tests.conftest import StartBroker
from tests.support.broker import Broker
from tests.support.eventually import wait_until

LIMIT = 2000


def test_a_request_above_the_clients_limit_is_refused_before_anything_is_sent(
    own_broker: Broker, new_client: NewClient
) -> None:
    own_broker.stop()
    client = new_client(own_broker.url, max_message_size=LIMIT)

    with pytest.raises(MessageTooLarge, match=f"limit of {LIMIT} bytes"):
        client.call.work("x" * LIMIT)
    with pytest.raises(MessageTooLarge):
        client.defer.work("x" * LIMIT)
    with pytest.raises(MessageTooLarge):
        client.defer(wait_publish=False).work("x" * LIMIT)


def test_a_reply_above_the_servers_limit_reaches_the_caller_as_an_error(
    broker: Broker, new_client: NewClient, new_server: NewServer
) -> None:
    def repeat(text: str, times: int) -> str:
        return text * times

    new_server(broker.url, repeat, max_message_size=LIMIT)
    client = new_client(broker.url)

    with pytest.raises(RemoteException, match=f"limit of {LIMIT} bytes") as raised:
        client.call.repeat("x", LIMIT)

    assert raised.value.error_type == "MessageTooLarge"
    assert client.call.repeat("x", 10) == "x" * 10


def test_messages_above_the_brokers_limit_fail_alone(
    start_broker: StartBroker, new_client: NewClient, new_server: NewServer
) -> None:
    broker = start_broker({"max_message_size": LIMIT})
    work = Work(seconds=0.01)

    def repeat(text: str, times: int) -> str:
        return text * times

    server = new_server(broker.url, work, repeat)
    client = new_client(broker.url)
    assert server.wait_connected(10)
    assert client.wait_connected(10)

    others = [client.defer(wait_publish=False).work(number) for number in range(50)]
    large_request = client.defer(wait_publish=False).repeat("x" * LIMIT, 1)
    others += [client.defer(wait_publish=False).work(number) for number in range(50, 100)]
    large_reply = client.defer(wait_publish=False).repeat("x", LIMIT)
    others += [client.defer(wait_publish=False).work(number) for number in range(100, 150)]

    with pytest.raises(MessageTooLarge, match=f"broker's limit of {LIMIT} bytes"):
        large_request.get(timeout=20)
    with pytest.raises(RemoteException, match=f"broker's limit of {LIMIT} bytes") as raised:
        large_reply.get(timeout=20)
    assert raised.value.error_type == "MessageTooLarge"
    assert [result.get(timeout=20) for result in others] == list(range(150))
    assert work.runs == dict.fromkeys(range(150), 1)
    # Once told, the client knows the broker's limit.
    with pytest.raises(MessageTooLarge):
        client.call.repeat("x" * LIMIT, 1)
    wait_until(lambda: all(queue.messages == 0 for queue in broker.queues().values()), message="all is acknowledged")
