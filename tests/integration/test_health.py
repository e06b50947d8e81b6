"""Health: what probes learn of clients and servers."""

import os
import platform
import time

import gevent
import pytest

from amphora import AmqpRpcClient, Health
from tests.integration.conftest import NewClient, NewServer
from tests.integration.functions import Noting
from tests.support.broker import Broker
from tests.support.eventually import wait_until


def test_what_is_connected_and_consuming_is_ready(new_server: NewServer, client: AmqpRpcClient) -> None:
    server = new_server(Noting(), connected=True)
    assert client.wait_connected(20)

    for endpoint in (server, client):
        wait_until(lambda endpoint=endpoint: endpoint.health().ready, 20)  # type: ignore[misc]
        health = endpoint.health()
        assert (health.connected, health.consuming, health.blocked) == (True, True, False)


def test_what_has_no_broker_is_not_ready(new_client: NewClient) -> None:
    health = new_client(broker_url="amqp://127.0.0.1:1").health()

    assert not health.ready
    assert str(health).startswith("not ready: not connected, not consuming; event loop lag 0.")


def test_a_server_that_is_stopping_is_not_ready(new_server: NewServer) -> None:
    server = new_server(Noting(), connected=True)
    wait_until(lambda: server.health().ready, 20)

    server.prepare_stop()

    assert server.connected
    assert not server.health().consuming
    server.stop()
    assert not server.health().connected


def test_what_the_broker_blocks_is_not_ready(own_broker: Broker, new_client: NewClient) -> None:
    client = new_client(broker_url=own_broker.url)
    assert client.wait_connected(20)

    with own_broker.memory_alarm():
        client.defer(wait_publish=False).note()
        wait_until(lambda: client.health().blocked, 20)

        assert not client.health().ready


def test_what_does_not_wait_shows_as_lag(client: AmqpRpcClient) -> None:
    def hog() -> None:
        end = time.monotonic() + 0.1
        while time.monotonic() < end:
            pass

    # It runs when the event loop turns, which is what is measured.
    hogging = gevent.spawn(hog)

    assert client.health().loop_lag >= 0.1
    hogging.join()


def test_every_server_tells_how_it_is(new_server: NewServer, new_client: NewClient) -> None:
    first, second = new_server(Noting(), connected=True), new_server(Noting(), connected=True)
    client = new_client()
    wait_until(lambda: len(client.inspect.health(20, limit=2)) == 2, 60)

    found = client.inspect.health(20, limit=2, counts=lambda each: each.host == platform.node())

    assert {each.uuid for each in found} == {first.uuid, second.uuid}
    assert {each.pid for each in found} == {os.getpid()}
    assert all(each.health.ready and each.round_trip > 0 for each in found)
    assert client.call.amphora.health()["ready"] is True


def test_answers_are_waited_for_until_enough_count(new_server: NewServer, new_client: NewClient) -> None:
    first, second = new_server(Noting(), connected=True), new_server(Noting(), connected=True)
    client = new_client()
    wait_until(lambda: len(client.inspect.health(20, limit=2)) == 2, 60)

    for server in first, second:
        found = client.inspect.health(20, limit=1, counts=lambda each, server=server: each.uuid == server.uuid)  # type: ignore[misc]

        assert server.uuid in {each.uuid for each in found}


def test_who_is_late_is_not_ready_where_that_is_asked() -> None:
    late = Health(True, True, False, 1.5)

    assert late.ready
    assert [late.ready_within(each) for each in (None, 1.5, 1)] == [True, True, False]
    assert late.describe(1) == "not ready: connected, consuming; event loop lag 1.500 s, more than 1 s"
    assert late.describe(2) == str(late)


@pytest.mark.parametrize(
    ("health", "text"),
    [
        (Health(True, True, False, 0.0004), "ready: connected, consuming; event loop lag 0.000 s"),
        (
            Health(True, True, True, 1.5),
            "not ready: connected, consuming, blocked by the broker; event loop lag 1.500 s",
        ),
        (Health(True, False, False, 0.0), "not ready: connected, not consuming; event loop lag 0.000 s"),
    ],
)
def test_it_says_in_words_how_it_is(health: Health, text: str) -> None:
    assert str(health) == text
