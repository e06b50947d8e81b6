"""Queues that the broker has with other arguments than a new one would get."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from amqp.exceptions import PreconditionFailed

from amphora.links.declare_channel import DeclareChannel
from amphora.links.own_queue import OwnQueue
from amphora.links.queue_types import QueueTypes
from amphora.links.topology import (
    Topology,
    dead_letter_queue,
    direct_exchange,
    durable_queue,
    queue_forms,
    request_forms,
)

Arguments = Mapping[str, Any]

CLASSIC: Arguments = {"x-queue-type": "classic"}
NONE: Arguments = {}
QUORUM: Arguments = {
    "x-queue-type": "quorum",
    "x-delivery-limit": 1_000_000_000,
    "x-consumer-disconnected-timeout": 10_000,
}
DEAD: Arguments = {"x-dead-letter-exchange": "dead", "x-dead-letter-routing-key": "dead"}
LIMITED: Arguments = {**QUORUM, "x-delivery-limit": 10_000, **DEAD}
EARLIER: Arguments = {"x-queue-type": "quorum", "x-delivery-limit": 200, **DEAD}
OTHER: Arguments = {"x-max-length": 1}


class FakeNode:
    """What several connections lead to: queues, by name."""

    def __init__(self, **queues: Arguments) -> None:
        self.queues: dict[str, Arguments] = dict(queues)


class FakeConnection:
    """Closes the channel of each declaration that differs from the queue."""

    def __init__(self, node: FakeNode, version: str = "", product: str = "RabbitMQ") -> None:
        self.node = node
        self.server_properties = {"product": product, "version": version}
        self.declared: list[Arguments] = []
        self.channels = 0

    def channel(self) -> "FakeChannel":
        self.channels += 1
        return FakeChannel(self)


class FakeChannel:
    def __init__(self, connection: FakeConnection) -> None:
        self.connection: FakeConnection | None = connection
        self.no_ack_consumers: set[str] = set()

    def queue_declare(self, queue: str, arguments: Arguments | None = None, **_: Any) -> tuple[str, int, int]:
        connection, given = self.connection, arguments or {}
        assert connection is not None, "the channel is closed"
        connection.declared.append(given)
        existing = connection.node.queues.setdefault(queue, given)
        if existing != given:
            self.connection = None
            differs = [name for name in ("x-queue-type", "x-max-length") if existing.get(name) != given.get(name)]
            text = f"inequivalent arg '{(differs or ['x-delivery-limit'])[-1]}' for queue"
            raise PreconditionFailed(text, (50, 10), "Queue.declare")
        return queue, 0, 0

    def exchange_declare(self, **_: Any) -> None:
        assert self.connection is not None, "the channel is closed"

    def queue_bind(self, **_: Any) -> None:
        assert self.connection is not None, "the channel is closed"

    def basic_qos(self, *_: Any) -> None:
        assert self.connection is not None, "the channel is closed"

    def prepare_queue_arguments(self, arguments: Arguments | None, **_: Any) -> Arguments | None:
        return arguments


def queue(queue_type: str, *, limit: int | None = None, types: QueueTypes | None = None, **options: Any) -> OwnQueue:
    return durable_queue(
        "q",
        direct_exchange("d"),
        "",
        types=types or QueueTypes(queue_type),
        forms=request_forms(queue_type, limit, "dead"),
        **options,
    )


# A type that is configured.


@pytest.mark.parametrize(
    ("configured", "existing", "channels", "adapted"),
    [
        ("classic", None, 1, []),
        ("classic", CLASSIC, 1, []),
        ("classic", NONE, 2, ["q"]),
        ("quorum", None, 1, []),
        ("quorum", LIMITED, 1, []),
        ("quorum", QUORUM, 2, []),
        ("quorum", EARLIER, 3, ["q"]),
    ],
    ids=str,
)
def test_a_queue_is_declared_as_the_broker_has_it(
    configured: str, existing: Arguments | None, channels: int, adapted: list[str]
) -> None:
    node = FakeNode() if existing is None else FakeNode(q=existing)
    connection, topology = FakeConnection(node, "4.3.6"), Topology([queue(configured, limit=20)])

    DeclareChannel(connection).run(topology.declare)

    assert node.queues["q"] == (existing if existing is not None else CLASSIC if configured == "classic" else LIMITED)
    assert connection.channels == channels
    assert topology.adapted == adapted


def test_the_arguments_that_were_accepted_are_used_from_then_on() -> None:
    connection, topology = FakeConnection(FakeNode(q=NONE)), Topology([queue("classic")])
    control = DeclareChannel(connection)

    for _ in range(3):
        control.run(topology.declare)

    assert connection.declared == [CLASSIC, NONE, NONE, NONE]


@pytest.mark.parametrize("configured", ["auto", "classic", "quorum"])
def test_other_arguments_are_an_error_and_everything_is_tried_again_later(configured: str) -> None:
    node = FakeNode(q=OTHER)
    connection, topology = FakeConnection(node, "4.3.6"), Topology([queue(configured)])
    control = DeclareChannel(connection)

    for _ in range(2):
        with pytest.raises(PreconditionFailed, match="x-max-length"):
            control.run(topology.declare)

    half = len(connection.declared) // 2
    assert connection.declared[:half] == connection.declared[half:]
    assert len({str(each) for each in connection.declared[:half]}) == half
    assert topology.adapted == []
    del node.queues["q"]
    control.run(topology.declare)
    assert connection.declared[-1] == (CLASSIC if configured == "classic" else QUORUM)


def test_a_queue_that_was_deleted_and_declared_with_current_arguments_by_others_is_found_again() -> None:
    node = FakeNode(q=NONE)
    connection, topology = FakeConnection(node), Topology([queue("classic")])
    control = DeclareChannel(connection)
    control.run(topology.declare)
    node.queues["q"] = CLASSIC

    control.run(topology.declare)

    assert topology.adapted == []
    assert connection.declared == [CLASSIC, NONE, NONE, CLASSIC]


def test_arguments_of_an_earlier_release_are_not_declared_on_a_broker_that_comes_back_empty() -> None:
    topology = Topology([queue("quorum", limit=20)])
    DeclareChannel(FakeConnection(FakeNode(q=EARLIER), "4.3.6")).run(topology.declare)
    empty = FakeNode()

    DeclareChannel(FakeConnection(empty, "4.3.6")).run(topology.declare)

    assert empty.queues == {"q": LIMITED}


# auto: by the release of the broker, and what exists stays.


@pytest.mark.parametrize(
    ("version", "product", "expected"),
    [
        ("3.10.8", "RabbitMQ", CLASSIC),
        ("3.13.7", "RabbitMQ", CLASSIC),
        ("4.0.5", "RabbitMQ", QUORUM),
        ("4.3.6", "RabbitMQ", QUORUM),
        ("10.0.0-rc.1", "RabbitMQ", QUORUM),
        ("", "RabbitMQ", CLASSIC),
        ("custom", "RabbitMQ", CLASSIC),
        ("4.0.0", "Another", CLASSIC),
    ],
)
def test_a_new_queue_has_the_type_that_suits_the_release(version: str, product: str, expected: Arguments) -> None:
    node = FakeNode()

    DeclareChannel(FakeConnection(node, version, product)).run(Topology([queue("auto", leads=True)]).declare)

    assert node.queues == {"q": expected}


@pytest.mark.parametrize("version", ["3.10.8", "4.3.6"])
@pytest.mark.parametrize("existing", [CLASSIC, QUORUM, LIMITED, EARLIER, NONE], ids=str)
@pytest.mark.parametrize("limit", [None, 5, 20])
def test_a_queue_that_exists_is_used_as_it_is(existing: Arguments, version: str, limit: int | None) -> None:
    node, types = FakeNode(q=existing), QueueTypes("auto")
    topology = Topology([queue("auto", limit=limit, types=types, leads=True)])
    connection = FakeConnection(node, version)
    control = DeclareChannel(connection)

    control.run(topology.declare)
    first = len(connection.declared)
    control.run(topology.declare)

    assert node.queues == {"q": existing}
    assert len(connection.declared) == first + 1
    assert types.found == ("classic" if existing is CLASSIC else "quorum")
    assert topology.adapted == (["q"] if existing in (EARLIER, NONE) else [])


def test_a_queue_of_the_other_type_costs_a_process_one_refusal_and_is_declared_again_as_it_was() -> None:
    node = FakeNode(q=CLASSIC)
    topology = Topology([queue("auto", leads=True)])
    first, second = FakeConnection(node, "4.3.6"), FakeConnection(node, "4.3.6")
    DeclareChannel(first).run(topology.declare)
    del node.queues["q"]

    DeclareChannel(second).run(topology.declare)

    assert (first.channels, second.channels) == (2, 1)
    assert node.queues == {"q": CLASSIC}


@pytest.mark.parametrize(
    ("versions", "expected"), [(("3.10.8", "4.3.6"), QUORUM), (("4.3.6", "3.10.8"), CLASSIC)], ids=str
)
def test_on_a_broker_of_another_release_that_is_empty_it_is_declared_as_a_new_one(
    versions: Sequence[str], expected: Arguments
) -> None:
    topology = Topology([queue("auto", leads=True)])

    for version in versions:
        node = FakeNode()
        DeclareChannel(FakeConnection(node, version)).run(topology.declare)

    assert node.queues == {"q": expected}


def test_two_connections_that_find_another_type_at_the_same_time_both_find_the_right_one() -> None:
    node, shared = FakeNode(q=LIMITED), queue("auto", limit=5, leads=True)
    controls = [DeclareChannel(FakeConnection(node, version)) for version in ("4.3.6", "3.10.8")]

    def declare_both(channel: Any) -> None:
        # (Where the greenlet of one waits for the broker, the other runs.)
        if not done:
            done.append(True)
            controls[1].run(Topology([shared]).declare)
        shared.declare_on(channel)

    done: list[bool] = []
    controls[0].run(declare_both)

    assert node.queues == {"q": LIMITED}


def test_a_queue_that_expires_is_classic() -> None:
    node = FakeNode()
    expiring = durable_queue(
        "q", direct_exchange("d"), "", x_expires=5, types=QueueTypes("auto"), forms=queue_forms("auto")
    )

    DeclareChannel(FakeConnection(node, "4.3.6")).run(Topology([expiring]).declare)

    assert node.queues == {"q": {**CLASSIC, "x-expires": 5}}


# Queues that are declared after the service's own one.


@pytest.mark.parametrize(
    ("version", "existing", "expected"),
    [
        ("4.3.6", None, QUORUM),
        ("4.3.6", CLASSIC, CLASSIC),
        ("4.3.6", QUORUM, QUORUM),
        ("3.10.8", None, CLASSIC),
        ("3.10.8", LIMITED, QUORUM),
    ],
)
def test_new_queues_of_a_service_have_the_type_of_its_own_queue(
    version: str, existing: Arguments | None, expected: Arguments
) -> None:
    node, types = FakeNode() if existing is None else FakeNode(q=existing), QueueTypes("auto")
    label = durable_queue("label", direct_exchange("d"), "l", types=types, forms=request_forms("auto", None, "dead"))
    topology = Topology([queue("auto", types=types, leads=True)])
    topology.add(label)
    control = DeclareChannel(FakeConnection(node, version))

    control.run(topology.declare)
    control.run(topology.declare_added)

    assert node.queues["label"] == expected


@pytest.mark.parametrize(("existing", "expected"), [(None, QUORUM), (CLASSIC, CLASSIC)])
def test_the_dead_letters_wait_until_the_type_of_the_services_own_queue_is_known(
    existing: Arguments | None, expected: Arguments
) -> None:
    node, types = FakeNode() if existing is None else FakeNode(q=existing), QueueTypes("auto")
    own = queue("auto", types=types, leads=True)
    topology = Topology([dead_letter_queue("dead", types, own)])
    connection = FakeConnection(node, "4.3.6")
    control = DeclareChannel(connection)

    control.run(topology.declare)
    assert node.queues["dead"] == expected
    before = len(connection.declared)
    control.run(topology.declare)
    assert len(connection.declared) == before + 1
