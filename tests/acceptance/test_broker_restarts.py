"""A broker that stops, dies, is away, or comes back empty: everybody finds the way back by themselves."""

import logging
import re
from collections import Counter
from collections.abc import Callable
from functools import partial

import gevent
import pytest

from amphora import AmqpRpcFanoutClient, AmqpRpcFanoutServer
from tests.acceptance.conftest import NewClient, NewServer
from tests.acceptance.load import outcome_of
from tests.acceptance.work import Work
from tests.support.broker import Broker
from tests.support.eventually import wait_until

LINKS = [f"{endpoint} {link}" for endpoint in ("client", "server") for link in ("consumer", "publisher")]


def lines_of(caplog: pytest.LogCaptureFixture) -> Counter[tuple[str, str]]:
    """Count the lines that an operator reads, by level and connection; none of them has a traceback."""
    records = [
        record
        for record in caplog.records
        if record.levelno >= logging.INFO
        and record.name.partition(".")[0] not in ("tests", "pytest_rabbitmq", "mirakuru")
    ]
    assert not any(record.exc_info for record in records)
    return Counter((record.levelname, record.getMessage().partition(":")[0].partition(" ")[2]) for record in records)


@pytest.mark.parametrize("end_broker", [Broker.stop, Broker.kill], ids=["stopped", "killed"])
def test_a_thousand_calls_in_flight_survive_a_broker_that_goes_and_comes_back(
    own_broker: Broker, new_client: NewClient, new_server: NewServer, end_broker: Callable[[Broker], None]
) -> None:
    work = Work(seconds=0.1)
    new_server(own_broker.url, work)
    client = new_client(own_broker.url)
    results = [client.defer(wait_publish=False).work(number) for number in range(1000)]
    wait_until(lambda: sum(result.ready() for result in results) >= 200, message="calls are answered")
    own_broker.sync()

    end_broker(own_broker)
    answered_before = sum(result.ready() for result in results)
    own_broker.start()

    assert answered_before < 1000
    gevent.wait(results, timeout=60)
    assert [result.get(block=False) for result in results] == list(range(1000))
    # One server process never runs a request twice.
    assert work.runs == dict.fromkeys(range(1000), 1)


def test_the_log_tells_of_a_restarted_broker_in_a_handful_of_lines(
    own_broker: Broker, new_client: NewClient, new_server: NewServer, caplog: pytest.LogCaptureFixture
) -> None:
    server, client = new_server(own_broker.url, Work(seconds=0.05)), new_client(own_broker.url)
    assert client.call.work(0) == 0
    caplog.set_level(logging.INFO)

    results = [client.defer(wait_publish=False).work(number) for number in range(1000)]
    wait_until(lambda: sum(result.ready() for result in results) >= 100, message="calls are answered")
    own_broker.restart()

    assert [result.get(timeout=30) for result in results] == list(range(1000))
    # Every request may have been sent before the broker went: then nobody waits for the client's publisher.
    wait_until(lambda: server.connected and client.connected, message="all are connected again")
    # For each connection one line when it is lost and one when it is back.
    assert lines_of(caplog) == {(level, link): 1 for level in ("WARNING", "INFO") for link in LINKS}


def test_client_and_server_may_start_before_the_broker(
    own_broker: Broker, new_client: NewClient, new_server: NewServer, caplog: pytest.LogCaptureFixture
) -> None:
    own_broker.stop()
    caplog.set_level(logging.INFO)
    server = new_server(own_broker.url, abs)
    client = new_client(own_broker.url)
    held = client.defer(wait_publish=False).abs(-1)
    refused = re.compile(rf"not connected: .*:{own_broker.port}.* refused")
    wait_until(lambda: refused.search(str(outcome_of(partial(client.call(timeout=0.2).abs, -1)))))

    own_broker.start()

    assert held.get(timeout=20) == 1
    assert client.call.abs(-2) == 2
    wait_until(lambda: server.connected and client.connected, message="all are connected")
    assert lines_of(caplog) == Counter({(level, link): 1 for level in ("WARNING", "INFO") for link in LINKS})


def test_calls_made_while_the_broker_is_away_are_held_and_run_once_it_is_back(
    own_broker: Broker, new_client: NewClient, new_server: NewServer
) -> None:
    work = Work()
    server, client = new_server(own_broker.url, work), new_client(own_broker.url)
    assert client.call.work(0) == 0
    own_broker.sync()
    own_broker.kill()
    wait_until(lambda: not client.connected and not server.connected)
    held = [client.defer(wait_publish=False).work(number) for number in range(1, 101)]
    waiting = [gevent.spawn(client.defer.work, number) for number in range(101, 201)]
    gevent.sleep(0)
    assert not any(greenlet.ready() for greenlet in waiting)

    own_broker.start()

    confirmed = [greenlet.get(timeout=20) for greenlet in waiting]
    assert [result.get(timeout=20) for result in held + confirmed] == list(range(1, 201))
    assert work.runs == dict.fromkeys(range(201), 1)


def test_a_broker_that_comes_back_empty_is_furnished_again(
    own_broker: Broker, service: str, unique_name: Callable[[str], str], new_client: NewClient, new_server: NewServer
) -> None:
    label = unique_name("label")
    server, client = new_server(own_broker.url, abs), new_client(own_broker.url)
    client.create_new_request_queue(label)
    server.receive_from_queue(label, block=False)
    assert client.call(routing_key=label).abs(-1) == 1

    own_broker.wipe()

    assert client.call.abs(-2) == 2
    assert client.call(routing_key=label).abs(-3) == 3
    wait_until(lambda: [each.uuid for each in client.inspect.ping(20, limit=1)] == [server.uuid], 60)
    assert own_broker.queues().keys() == {
        f"rpc_{service}_request",
        f"rpc_{service}_{server.uuid}_control",
        f"rpc_{service}_queue_{label}",
        f"rpc_{service}_{client.uuid}_response",
    }


def test_a_fanout_service_works_again_on_a_broker_that_comes_back_empty(
    own_broker: Broker, service: str, new_client: NewClient, new_server: NewServer
) -> None:
    heard: Counter[str] = Counter()

    def hear(by: str) -> Callable[[str], None]:
        def tell(text: str) -> None:
            heard[f"{by} {text}"] += 1

        return tell

    servers = [new_server(own_broker.url, cls=AmqpRpcFanoutServer, uuid=uuid) for uuid in ("a", "b")]
    for server in servers:
        server.add_function(hear(server.uuid), name="tell")
    client = new_client(own_broker.url, cls=AmqpRpcFanoutClient)
    for each in (client, *servers):
        each.wait_connected(10)
    client.call.tell("before")
    wait_until(lambda: heard == {"a before": 1, "b before": 1})

    own_broker.wipe()
    for each in (client, *servers):
        each.wait_connected(20)
    client.call.tell("after")

    wait_until(lambda: heard == {"a before": 1, "b before": 1, "a after": 1, "b after": 1})
