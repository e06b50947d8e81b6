"""The entities of a service, as they are asked of the broker."""

from types import SimpleNamespace
from typing import Any

import pytest
from amqp.exceptions import NotFound

from amphora.links.queue_types import QueueTypes
from amphora.links.topology import (
    Topology,
    bind_queue,
    create_queue,
    delete_queue,
    direct_exchange,
    durable_queue,
    fanout_exchange,
    queue_forms,
)

Said = tuple[Any, ...]

CLASSIC = {"x-queue-type": "classic"}
QUORUM = {"x-queue-type": "quorum", "x-delivery-limit": 10**9, "x-consumer-disconnected-timeout": 10_000}


class FakeChannel:
    """Notes what is said on it, with the arguments that a broker compares."""

    def __init__(self) -> None:
        self.said: list[Said] = []
        self.queues: set[str] = set()
        self.connection = SimpleNamespace(client=SimpleNamespace(declared_entities=set()))
        self.is_open = True

    def prepare_queue_arguments(self, arguments: dict[str, Any], **_: Any) -> dict[str, Any]:
        return arguments

    def exchange_declare(
        self,
        *,
        exchange: str,
        type: str,  # noqa: A002
        durable: bool = False,
        auto_delete: bool = True,
        passive: bool = False,
        **_: Any,
    ) -> None:
        if passive:
            self.said.append(("look for exchange", exchange))
        else:
            self.said.append(("exchange", exchange, type, durable, auto_delete))

    def queue_declare(
        self,
        queue: str,
        passive: bool = False,
        durable: bool = False,
        exclusive: bool = False,
        auto_delete: bool = False,
        arguments: Any = None,
        nowait: bool = False,
    ) -> tuple[str, int, int]:
        if passive:
            if queue not in self.queues:
                raise NotFound(f"no queue {queue!r}", (50, 10), "queue.declare", 404)
            self.said.append(("look for", queue))
        else:
            self.queues.add(queue)
            self.said.append(("queue", queue, durable, exclusive, auto_delete, arguments or {}))
        return queue, 0, 0

    def queue_bind(
        self, queue: str, exchange: str, routing_key: str = "", arguments: Any = None, nowait: bool = False
    ) -> None:
        self.said.append(("bind", queue, exchange, routing_key, arguments or {}))

    def queue_delete(self, queue: str) -> None:
        self.said.append(("delete", queue))


@pytest.fixture
def channel() -> FakeChannel:
    return FakeChannel()


def test_exchanges_are_durable_and_stay(channel: FakeChannel) -> None:
    Topology([direct_exchange("d"), fanout_exchange("f")]).declare(channel)

    assert channel.said == [("exchange", "d", "direct", True, False), ("exchange", "f", "fanout", True, False)]


def test_a_queue_comes_with_its_exchange_and_its_binding(channel: FakeChannel) -> None:
    Topology([durable_queue("q", direct_exchange("d"), "key")]).declare(channel)

    assert channel.said == [
        ("exchange", "d", "direct", True, False),
        ("queue", "q", True, False, False, {}),
        ("bind", "q", "d", "key", {}),
    ]


def test_the_services_own_queue_is_bound_with_an_empty_routing_key(channel: FakeChannel) -> None:
    Topology([durable_queue("q", direct_exchange("d"), "")]).declare(channel)

    assert channel.said[-1] == ("bind", "q", "d", "", {})


def test_the_time_to_live_of_a_queue_is_in_milliseconds(channel: FakeChannel) -> None:
    create_queue(durable_queue("q", direct_exchange("d"), "key", x_expires=1500), channel)

    assert channel.said[1] == ("queue", "q", True, False, False, {"x-expires": 1500})


def test_everything_is_declared_again_each_time(channel: FakeChannel) -> None:
    topology = Topology([durable_queue("q", direct_exchange("d"), "key")])

    topology.declare(channel)
    first = list(channel.said)
    topology.declare(channel)

    assert channel.said == first * 2


def test_queues_can_be_added_replaced_and_discarded() -> None:
    topology = Topology([direct_exchange("d")])
    exchange = direct_exchange("d")

    topology.add(durable_queue("a", exchange, "old"))
    topology.add(durable_queue("b", exchange, "b"))
    topology.add(durable_queue("a", exchange, "new"))
    topology.discard("b")
    topology.discard("unknown")

    assert [(queue.name, queue.routing_key) for queue in topology.added] == [("a", "new")]


def test_added_queues_are_no_part_of_what_is_fixed(channel: FakeChannel) -> None:
    topology = Topology([direct_exchange("d")])
    topology.add(durable_queue("a", direct_exchange("d"), "a"))

    topology.declare(channel)

    assert channel.said == [("exchange", "d", "direct", True, False)]


def test_a_queue_is_deleted_by_its_name(channel: FakeChannel) -> None:
    delete_queue("q", channel)

    assert channel.said == [("delete", "q")]


def test_somebody_elses_queue_is_bound_without_declaring_it(channel: FakeChannel) -> None:
    channel.queues.add("q")

    bind_queue("q", "d", "key", channel)

    # Nor is it looked for: RabbitMQ 4 does not answer that while the queue's node is down.
    assert channel.said == [("bind", "q", "d", "key", {})]


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        ({}, None),
        ({"forms": queue_forms("classic")}, CLASSIC),
        ({"forms": queue_forms("classic"), "x_expires": 5}, {"x-expires": 5, **CLASSIC}),
        ({"types": QueueTypes("quorum"), "forms": queue_forms("quorum")}, QUORUM),
        (
            {"types": QueueTypes("quorum"), "forms": queue_forms("quorum"), "x_expires": 5},
            {"x-expires": 5, **QUORUM},
        ),
    ],
)
def test_a_queue_is_declared_with_its_type_and_the_limits_it_needs(options: dict[str, Any], arguments: Any) -> None:
    assert durable_queue("q", direct_exchange("d"), "key", **options).queue_arguments == arguments


def test_what_somebody_else_declares_is_looked_for_and_not_declared() -> None:
    channel = FakeChannel()
    channel.queues.add("requests")
    exchange = direct_exchange("requests", declared=False)
    topology = Topology(
        [durable_queue("responses", direct_exchange("replies", declared=False), "c")],
        expected=[exchange, durable_queue("requests", exchange, "")],
    )

    topology.declare(channel)

    assert [each[:2] for each in channel.said] == [
        ("look for exchange", "requests"),
        ("look for", "requests"),
        ("queue", "responses"),
        ("bind", "responses"),
    ]


def test_what_is_expected_and_not_there_is_an_error_before_anything_is_declared() -> None:
    channel = FakeChannel()
    exchange = direct_exchange("requests", declared=False)
    topology = Topology(
        [durable_queue("responses", direct_exchange("replies"), "c")],
        expected=[durable_queue("requests", exchange, "")],
    )

    with pytest.raises(NotFound):
        topology.declare(channel)

    assert channel.said == []
