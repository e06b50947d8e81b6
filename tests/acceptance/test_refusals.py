"""A broker that refuses: the error names the cause, nobody hangs, and no password is shown."""

import logging
import traceback
from collections.abc import Callable, Iterator
from functools import partial

import amqp
import gevent
import pytest

from amphora import (
    AccessRefused,
    AmqpRpcClient,
    AmqpRpcFanoutServer,
    AmqpRpcServer,
    BrokerError,
    TopologyConflict,
    VhostNotFound,
)
from tests.acceptance.conftest import NewClient, NewServer
from tests.acceptance.load import outcome_of
from tests.support.broker import Broker
from tests.support.eventually import wait_until

PASSWORD = "5ecret-of-all"


@pytest.fixture
def powerless(broker: Broker, unique_name: Callable[[str], str]) -> Iterator[str]:
    """The name of a user without any permission."""
    name = unique_name("powerless")
    broker.add_user(name, PASSWORD, permissions="^$")
    yield name
    broker.delete_user(name)


def serving_ends_with(endpoint: AmqpRpcClient | AmqpRpcServer) -> BrokerError:
    """Return the error that ends `serve(nowait=False)`."""
    error = gevent.spawn(outcome_of, partial(endpoint.serve, nowait=False)).get(timeout=20)
    assert isinstance(error, BrokerError)
    return error


@pytest.mark.expects_errors("refuses access")
def test_a_wrong_password_ends_serve(broker: Broker, service: str) -> None:
    server = AmqpRpcServer(service, broker_url=broker.url_for(password=PASSWORD))

    error = serving_ends_with(server)

    assert isinstance(error, AccessRefused)
    assert "wrong user or password for 'guest'" in str(error)
    assert str(broker.port) in str(error)


@pytest.mark.expects_errors("has no vhost")
def test_a_missing_vhost_ends_serve(broker: Broker, service: str) -> None:
    server = AmqpRpcServer(service, broker_url=broker.url_for(vhost="nowhere"))

    error = serving_ends_with(server)

    assert isinstance(error, VhostNotFound)
    assert "no vhost 'nowhere'" in str(error)


@pytest.mark.expects_errors("refuses access")
def test_a_vhost_that_the_user_may_not_use_ends_serve(broker: Broker, unique_name: Callable[[str], str]) -> None:
    vhost = unique_name("foreign")
    broker.add_vhost(vhost, user=None)
    server = AmqpRpcServer("service", broker_url=broker.url_for(vhost=vhost))

    error = serving_ends_with(server)

    assert isinstance(error, AccessRefused)
    assert f"user 'guest' may not use vhost '{vhost}'" in str(error)


@pytest.mark.expects_errors("refuses access")
def test_a_missing_permission_ends_serve(broker: Broker, service: str, powerless: str) -> None:
    server = AmqpRpcServer(service, broker_url=broker.url_for(user=powerless, password=PASSWORD))

    error = serving_ends_with(server)

    assert isinstance(error, AccessRefused)
    assert f"user '{powerless}' lacks a permission" in str(error)
    assert f"rpc_{service}_re" in str(error)


@pytest.mark.expects_errors("with other properties than Amphora declares")
def test_a_queue_with_other_properties_ends_serve(broker: Broker, service: str, amqp_channel: amqp.Channel) -> None:
    queue = f"rpc_{service}_request"
    amqp_channel.queue_declare(queue, durable=True, auto_delete=False, arguments={"x-max-length": 7})
    server = AmqpRpcServer(service, broker_url=broker.url)

    error = serving_ends_with(server)

    assert isinstance(error, TopologyConflict)
    assert queue in str(error)
    assert "x-max-length" in str(error)


@pytest.mark.expects_errors("cannot share one name")
def test_a_service_that_is_direct_and_fanout_ends_serve(broker: Broker, service: str, new_server: NewServer) -> None:
    assert new_server(broker.url).wait_connected(10)
    server = AmqpRpcFanoutServer(service, broker_url=broker.url)

    error = serving_ends_with(server)

    assert isinstance(error, TopologyConflict)
    assert "a direct and a fan-out service cannot share one name" in str(error)


@pytest.mark.parametrize("wait_publish", [True, False])
@pytest.mark.expects_errors("refuses access")
def test_a_refused_client_ends_every_pending_and_later_call(
    broker: Broker, new_client: NewClient, wait_publish: bool
) -> None:
    client = new_client(broker.url_for(password=PASSWORD), autostart=False)
    pending = gevent.spawn(lambda: client.defer(wait_publish=wait_publish, timeout=None).work().get())
    calling = gevent.spawn(client.call(timeout=None).work)
    gevent.sleep(0)

    error = serving_ends_with(client)

    assert isinstance(error, AccessRefused)
    for greenlet in (pending, calling):
        with pytest.raises(AccessRefused, match="wrong user or password"):
            greenlet.get(timeout=10)
    with pytest.raises(AccessRefused, match="wrong user or password"):
        client.call.work()
    with pytest.raises(AccessRefused, match="wrong user or password"):
        client.create_new_request_queue("label")


@pytest.mark.expects_errors("refuses access")
def test_a_refused_client_ends_whatever_waits_without_a_limit(broker: Broker, new_client: NewClient) -> None:
    client = new_client(broker.url_for(password=PASSWORD), autostart=False, timeout=None, outbox_max_count=1)
    waiting = [gevent.spawn(call, "x") for call in (client.call.work, client.defer.work, client.defer.work)]
    waiting.append(gevent.spawn(client.create_new_request_queue, "label"))
    gevent.idle()

    client.serve()

    for greenlet in waiting:
        with pytest.raises(AccessRefused, match="wrong user or password"):
            greenlet.get(timeout=20)
    assert client.stats()["outbox"] == client.stats()["pending"] == 0


@pytest.mark.expects_errors("with other properties than Amphora declares")
def test_a_refused_request_is_not_sent_later(
    broker: Broker, service: str, new_client: NewClient, new_server: NewServer, amqp_channel: amqp.Channel
) -> None:
    queue = f"rpc_{service}_request"
    amqp_channel.queue_declare(queue, durable=True, auto_delete=False, arguments={"x-max-length": 7})
    numbers: list[int] = []
    client = new_client(broker.url)
    for _ in range(2):
        with pytest.raises(TopologyConflict):
            client.call.append(1)
    amqp_channel.queue_delete(queue)

    client.serve()
    new_server(broker.url, numbers.append)
    client.call.append(2)

    assert numbers == [2]


@pytest.mark.parametrize("wait_for_queue", [True, False])
@pytest.mark.expects_errors("refuses access")
def test_a_refused_server_ends_every_pending_and_later_receive(
    broker: Broker, new_server: NewServer, wait_for_queue: bool
) -> None:
    server = new_server(broker.url_for(password=PASSWORD))
    pending = gevent.spawn(server.receive_from_queue, "Alice", wait_for_queue=wait_for_queue)

    with pytest.raises(AccessRefused, match="wrong user or password"):
        pending.get(timeout=20)

    with pytest.raises(AccessRefused, match="wrong user or password"):
        server.receive_from_queue("Alice", wait_for_queue=wait_for_queue)


@pytest.mark.parametrize("attempt", range(5))
@pytest.mark.expects_errors("refuses access")
def test_whoever_is_told_of_a_refusal_may_serve_again_at_once(
    broker: Broker, new_client: NewClient, new_server: NewServer, attempt: int
) -> None:
    assert new_server(broker.url, abs).wait_connected(20)
    # The second attempt is at the second address.
    client = new_client(f"{broker.url_for(password=PASSWORD)};{broker.url}", timeout=20)
    refused = client.defer(wait_publish=False).abs(-1)
    refused.rawlink(lambda _: client.serve())

    with pytest.raises(AccessRefused):
        refused.get(timeout=20)

    assert client.call.abs(-2) == 2


@pytest.mark.expects_errors("with other properties than Amphora declares")
def test_a_refused_client_works_after_serve_once_the_cause_is_gone(
    broker: Broker, service: str, new_client: NewClient, new_server: NewServer, amqp_channel: amqp.Channel
) -> None:
    queue = f"rpc_{service}_request"
    amqp_channel.queue_declare(queue, durable=True, auto_delete=False, arguments={"x-max-length": 7})
    client = new_client(broker.url)
    with pytest.raises(TopologyConflict):
        client.call.abs(-1)
    amqp_channel.queue_delete(queue)

    client.serve()
    new_server(broker.url, abs)

    assert client.call.abs(-1) == 1


def test_a_user_deleted_while_connected_is_told_to_operators_and_waited_for(
    own_broker: Broker,
    unique_name: Callable[[str], str],
    new_client: NewClient,
    new_server: NewServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    user = unique_name("user")
    own_broker.add_user(user, PASSWORD)
    url = own_broker.url_for(user=user, password=PASSWORD)
    server, client = new_server(url, abs), new_client(url)
    assert client.call.abs(-1) == 1

    own_broker.delete_user(user)
    own_broker.close_all_connections()
    wait_until(lambda: not client.connected and not server.connected)
    held = client.defer(wait_publish=False).abs(-2)
    wait_until(lambda: "wrong user or password" in str(outcome_of(partial(client.call(timeout=0.1).abs, -3))))
    wait_until(lambda: len(refusals(caplog)) == 4, message="a line for each connection")
    own_broker.add_user(user, PASSWORD)

    assert held.get(timeout=20) == 2
    assert client.call.abs(-4) == 4
    assert len(refusals(caplog)) == 4
    own_broker.delete_user(user)


@pytest.mark.expects_errors("refuses access")
def test_no_password_is_ever_shown(broker: Broker, service: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    url = broker.url_for(password=PASSWORD)
    server, client = AmqpRpcServer(service, broker_url=url), AmqpRpcClient(service, broker_url=url, autostart=False)

    errors = [serving_ends_with(endpoint) for endpoint in (server, client)]

    shown = [caplog.text, repr(server), repr(client), *map(repr, errors)]
    shown += ["".join(traceback.format_exception(error)) for error in errors]
    assert [text for text in shown if PASSWORD in text] == []
    assert "wrong user or password" in caplog.text


def refusals(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged for operators about a wrong password."""
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    return [line for line in lines if "wrong user or password" in line]
