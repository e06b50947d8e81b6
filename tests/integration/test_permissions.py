"""RabbitMQ's permissions as docs/security.md has them: clients and servers can do their work, and no more."""

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import amqp
import pytest

from amphora import (
    AccessRefused,
    AmqpRpcClient,
    AmqpRpcFanoutClient,
    AmqpRpcFanoutServer,
    AmqpRpcServer,
    DeadLettered,
    DeadLetters,
    IgnoreRequest,
)
from tests.integration.conftest import NewClient, NewServer
from tests.integration.functions import Noting
from tests.integration.original import taken
from tests.support.broker import Broker
from tests.support.eventually import wait_until
from tests.support.processes import ROOT

PASSWORD = "secret"
QUORUM = {"queue_type": "quorum"}
CAREFUL = {"declare": False}


class Row(NamedTuple):
    """What a user needs."""

    configure: str
    write: str
    read: str


def documented() -> dict[str, Row]:
    """Return the rows of the documentation's table by their first column."""
    page = (ROOT / "docs" / "security.md").read_text()
    rows = re.findall(r"^\| (.+?) \| `(\^.*\$)` \| `(\^.*\$)` \| `(\^.*\$)` \|$", page, re.MULTILINE)
    return {user.replace("`", ""): Row(*(each.replace(r"\|", "|") for each in row)) for user, *row in rows}


ROWS = documented()

NewUser = Callable[[str], str]


@pytest.fixture
def new_user(broker: Broker, service: str, label: str, unique_name: Callable[[str], str]) -> Iterator[NewUser]:
    """Add users with the permissions of a row, for the test's own service and label, and return their names."""
    users = []

    def add(row: str) -> str:
        given = {
            kind: re.sub(r"(?<![a-z])ns_", f"{service}_", pattern) for kind, pattern in ROWS[row]._asdict().items()
        }
        users.append(unique_name("user"))
        broker.add_user(users[-1], PASSWORD, **given)
        return users[-1]

    yield add
    for user in users:
        broker.delete_user(user)


@pytest.fixture
def app(broker: Broker, new_user: NewUser, new_client: NewClient, unique_name: Callable[[str], str]) -> Any:
    """Make a client with the permissions of a row."""

    def make(row: str, **options: Any) -> AmqpRpcClient:
        url = broker.url_for(user=new_user(row), password=PASSWORD)
        return new_client(broker_url=url, uuid=unique_name("app-"), **options)

    return make


@pytest.fixture
def worker(broker: Broker, new_user: NewUser, new_server: NewServer) -> Any:
    """Make a server with the permissions of a row."""

    def make(row: str, *functions: Any, **options: Any) -> AmqpRpcServer:
        url = broker.url_for(user=new_user(row), password=PASSWORD)
        return new_server(*functions, broker_url=url, **options)

    return make


# What they can do.


def test_the_table_has_a_row_for_everybody() -> None:
    assert len(ROWS) == 11


@pytest.mark.parametrize(
    ("clients", "servers", "client_options", "server_options"),
    [
        ("client, declare=False", "server", CAREFUL, {}),
        ("client", "server", {}, {}),
        ("client, quorum queues", "server, delivery_limit or quorum queues", QUORUM, QUORUM),
        ("client, declare=False", "server, delivery_limit or quorum queues", {**QUORUM, **CAREFUL}, QUORUM),
        (
            "fan-out client, declare=False",
            "fan-out server",
            {**CAREFUL, "cls": AmqpRpcFanoutClient},
            {"cls": AmqpRpcFanoutServer},
        ),
        ("fan-out client", "fan-out server", {"cls": AmqpRpcFanoutClient}, {"cls": AmqpRpcFanoutServer}),
    ],
)
def test_a_client_and_a_server_can_do_their_work(
    app: Any,
    worker: Any,
    note: Noting,
    amqp_channel: amqp.Channel,
    service: str,
    clients: str,
    servers: str,
    client_options: dict[str, Any],
    server_options: dict[str, Any],
) -> None:
    server = worker(servers, note, connected=True, **server_options)
    client = app(clients, **client_options)
    assert client.call.note("called") == "called"

    # The server may bind the queue of a client again.
    amqp_channel.queue_unbind(f"rpc_{service}_{client.uuid}_response", f"rpc_{service}_response", client.uuid)

    assert client.call.note("again") == "again"
    assert server.stats()["undeliverable"] == server.stats()["reconnects"] == client.stats()["reconnects"] == 0


def test_either_may_come_first_where_both_declare(app: Any, worker: Any, note: Noting) -> None:
    result = app("client").defer.note("first")

    worker("server", note)

    assert result.get() == "first"


def test_a_client_that_declares_nothing_waits_for_a_server(app: Any, worker: Any, note: Noting) -> None:
    result = app("client, declare=False", **CAREFUL).defer(wait_publish=False).note("held")

    worker("server", note)

    assert result.get() == "held"


def test_a_client_that_declares_nothing_waits_for_a_server_over_memory_too(service: str, note: Noting) -> None:
    with AmqpRpcClient(service, broker_url="memory://", timeout=20, declare=False) as client:
        result = client.defer(wait_publish=False).note("held")
        with AmqpRpcServer(service, broker_url="memory://") as server:
            server.add_function(note)
            server.serve()

            assert result.get() == "held"


def test_labels_have_queues_of_their_own(app: Any, worker: Any, broker: Broker, label: str, note: Noting) -> None:
    server = worker("server, label queues", note, connected=True)
    client = app("client, declare=False, makes label queues", **CAREFUL)
    client.create_new_request_queue(label)
    server.receive_from_queue(label, block=False, wait_for_queue=False)

    assert client.call(routing_key=label).note("labelled") == "labelled"
    client.remove_request_queue(label)

    assert not [name for name in broker.queues() if label in name]


@pytest.mark.parametrize("options", [{"delivery_limit": 2}, QUORUM | {"delivery_limit": 2}], ids=["classic", "quorum"])
def test_a_request_can_be_given_up(
    app: Any,
    worker: Any,
    new_user: NewUser,
    broker: Broker,
    amqp_channel: amqp.Channel,
    service: str,
    options: dict[str, Any],
) -> None:
    def ignore() -> None:
        raise IgnoreRequest

    server = worker("server, delivery_limit or quorum queues", ignore, connected=True, ignore_delay=0.01, **options)
    with pytest.raises(DeadLettered):
        app("client, declare=False", **options, **CAREFUL).call.ignore()

    wait_until(lambda: not [name for name in broker.queues() if name.endswith("_tries") and service in name])
    server.stop()
    wait_until(lambda: broker.queues()[f"rpc_{service}_dead"].messages == 1)
    url = broker.url_for(user=new_user("who gives back dead letters"), password=PASSWORD)
    with DeadLetters(service, broker_url=url) as dead:
        assert dead.wait_connected(20)
        (letter,) = dead.letters()
        dead.requeue(letter)

    assert taken(amqp_channel, f"rpc_{service}_request").body == letter.body


# What they can not do.


def publish(channel: amqp.Channel, exchange: str, routing_key: str) -> None:
    """Publish, and wait until the broker has said what it thinks of that."""
    channel.basic_publish(amqp.Message(b"forged"), exchange, routing_key)
    channel.basic_qos(0, 1, False)


Operations = dict[str, Callable[[amqp.Channel, str], Any]]
"""What somebody may try on a channel with the service of that name."""

TO_ANYBODY: Operations = {
    "declare a queue of its own": lambda channel, ns: channel.queue_declare(f"rpc_{ns}_more"),
    "declare another service": lambda channel, ns: channel.exchange_declare(f"rpc_other_{ns}_request", "direct"),
    "declare another client's queue": lambda channel, ns: channel.queue_declare(f"rpc_{ns}_other-1_response"),
    "delete another client's queue": lambda channel, ns: channel.queue_delete(f"rpc_{ns}_other-1_response"),
    "get another client's replies": lambda channel, ns: channel.basic_get(f"rpc_{ns}_other-1_response"),
    "consume another client's replies": lambda channel, ns: channel.basic_consume(f"rpc_{ns}_other-1_response"),
    "purge another client's replies": lambda channel, ns: channel.queue_purge(f"rpc_{ns}_other-1_response"),
    "get the requests of another service's label": lambda channel, ns: channel.basic_get(f"rpc_other{ns}_request"),
    "write into a queue": lambda channel, ns: published(channel, "", f"rpc_{ns}_request"),
}
TO_CLIENTS: Operations = {
    **TO_ANYBODY,
    "answer a request": lambda channel, ns: published(channel, f"rpc_{ns}_response", "other-1"),
    "bind another client's queue": lambda channel, ns: channel.queue_bind(
        f"rpc_{ns}_other-1_response", f"rpc_{ns}_response", "more"
    ),
    "get dead letters": lambda channel, ns: channel.basic_get(f"rpc_{ns}_dead"),
    "write a dead letter": lambda channel, ns: published(channel, f"rpc_{ns}_dead", f"rpc_{ns}_dead"),
    "count a try": lambda channel, ns: channel.queue_declare(f"rpc_{ns}_1_tries"),
}
READING: Operations = {
    "get a request": lambda channel, ns: channel.basic_get(f"rpc_{ns}_request"),
    "consume requests": lambda channel, ns: channel.basic_consume(f"rpc_{ns}_request"),
    "purge the requests": lambda channel, ns: channel.queue_purge(f"rpc_{ns}_request"),
}
DECLARING: Operations = {
    "declare the request queue": lambda channel, ns: channel.queue_declare(f"rpc_{ns}_request", durable=True),
    "delete the request queue": lambda channel, ns: channel.queue_delete(f"rpc_{ns}_request"),
    "delete the request exchange": lambda channel, ns: channel.exchange_delete(f"rpc_{ns}_request"),
    "delete the response exchange": lambda channel, ns: channel.exchange_delete(f"rpc_{ns}_response"),
}


def published(channel: amqp.Channel, exchange: str, routing_key: str) -> None:
    """Publish, and wait until the broker has said what it thinks of that."""
    channel.basic_publish(amqp.Message(b"forged"), exchange, routing_key)
    channel.basic_qos(0, 1, False)


@pytest.fixture
def allowed(broker: Broker, service: str, new_user: NewUser, new_client: NewClient, new_server: NewServer) -> Any:
    """Try operations with the permissions of a row, on a service that is there; return those that go through."""
    new_server(connected=True, delivery_limit=2)
    assert new_client(uuid="other-1").wait_connected(20)
    wait_until(lambda: f"rpc_{service}_other-1_response" in broker.queues())

    def run(row: str, operations: Operations) -> list[str]:
        done = []
        connection = broker.connect(userid=new_user(row), password=PASSWORD)
        try:
            for name, operation in operations.items():
                try:
                    operation(connection.channel(), service)
                except amqp.AccessRefused:
                    continue
                done.append(name)
        finally:
            connection.collect()
        return done

    return run


@pytest.mark.parametrize(
    ("row", "forbidden"),
    [
        ("client, declare=False", {**TO_CLIENTS, **READING, **DECLARING}),
        ("fan-out client, declare=False", {**TO_CLIENTS, **READING, **DECLARING}),
        ("fan-out client", {**TO_CLIENTS, **READING}),
        ("client", TO_CLIENTS),
        ("client, quorum queues", {name: each for name, each in TO_CLIENTS.items() if name != "write a dead letter"}),
        ("client, declare=False, makes label queues", {**TO_CLIENTS, **DECLARING}),
        ("server", TO_ANYBODY),
        ("server, label queues", TO_ANYBODY),
        ("server, delivery_limit or quorum queues", TO_ANYBODY),
        ("fan-out server", TO_ANYBODY),
    ],
)
def test_nobody_can_do_what_is_not_its_work(allowed: Any, row: str, forbidden: Operations) -> None:
    assert allowed(row, forbidden) == []


@pytest.mark.parametrize(
    "row",
    [
        "client",
        "client, declare=False, makes label queues",
    ],
)
def test_who_binds_queues_to_the_request_exchange_can_read_the_request_queue_as_is_said(allowed: Any, row: str) -> None:
    assert allowed(row, READING) == list(READING)


def test_who_gives_back_dead_letters_can_neither_read_requests_nor_declare(allowed: Any) -> None:
    assert allowed("who gives back dead letters", {**READING, **DECLARING}) == []


@pytest.mark.expects_errors("refuses access")
def test_a_client_that_declares_is_told_where_it_may_not(app: Any) -> None:
    client = app("client, declare=False")

    with pytest.raises(AccessRefused, match="lacks a permission"):
        client.call.note()
