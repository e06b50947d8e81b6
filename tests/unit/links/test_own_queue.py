"""Queues that the broker has with the arguments of an earlier release."""

from typing import Any

import pytest
from amqp.exceptions import PreconditionFailed

from amphora.links.control import ControlChannel
from amphora.links.topology import OwnQueue, Topology, direct_exchange, durable_queue

CURRENT, EARLIER, OTHER = {"x-queue-type": "classic"}, {}, {"x-max-length": 1}


class FakeBroker:
    """Has one queue, and closes the channel of each declaration that differs from it; is a connection too."""

    def __init__(self, arguments: dict[str, Any] | None) -> None:
        self.arguments = arguments
        self.declared: list[dict[str, Any]] = []
        self.channels = 0

    def channel(self) -> "FakeChannel":
        self.channels += 1
        return FakeChannel(self)


class FakeChannel:
    def __init__(self, broker: FakeBroker) -> None:
        self.connection: FakeBroker | None = broker
        self.no_ack_consumers: set[str] = set()

    def queue_declare(self, queue: str, arguments: dict[str, Any] | None = None, **_: Any) -> tuple[str, int, int]:
        assert self.connection is not None, "the channel is closed"
        broker, given = self.connection, arguments or {}
        broker.declared.append(given)
        if broker.arguments is None:
            broker.arguments = given
        if broker.arguments != given:
            self.connection = None
            raise PreconditionFailed("inequivalent arg", (50, 10), "Queue.declare")
        return queue, 0, 0

    def exchange_declare(self, **_: Any) -> None:
        assert self.connection is not None, "the channel is closed"

    def queue_bind(self, **_: Any) -> None:
        assert self.connection is not None, "the channel is closed"

    def prepare_queue_arguments(self, arguments: dict[str, Any] | None, **_: Any) -> dict[str, Any] | None:
        return arguments


def queue() -> OwnQueue:
    return durable_queue("q", direct_exchange("d"), "", arguments=CURRENT, earlier=[EARLIER])


@pytest.mark.parametrize(
    ("existing", "channels", "adapted"), [(None, 1, []), (CURRENT, 1, []), (EARLIER, 2, ["q"])], ids=str
)
def test_a_queue_is_declared_as_the_broker_has_it(
    existing: dict[str, Any] | None, channels: int, adapted: list[str]
) -> None:
    broker, topology = FakeBroker(existing), Topology([queue()])

    ControlChannel(broker).run(topology.declare)

    assert broker.arguments == (CURRENT if existing is None else existing)
    assert broker.channels == channels
    assert topology.adapted == adapted


def test_the_arguments_that_were_accepted_are_used_from_then_on() -> None:
    broker, topology = FakeBroker(EARLIER), Topology([queue()])
    control = ControlChannel(broker)

    for _ in range(3):
        control.run(topology.declare)

    assert broker.declared == [CURRENT, EARLIER, EARLIER, EARLIER]


def test_other_arguments_are_an_error_and_everything_is_tried_again_later() -> None:
    broker, topology = FakeBroker(OTHER), Topology([queue()])
    control = ControlChannel(broker)

    for _ in range(2):
        with pytest.raises(PreconditionFailed):
            control.run(topology.declare)

    assert broker.declared == [CURRENT, EARLIER] * 2
    assert topology.adapted == []
    broker.arguments = None
    control.run(topology.declare)
    assert broker.declared[-1] == CURRENT


def test_a_queue_that_was_deleted_and_declared_with_current_arguments_by_others_is_found_again() -> None:
    broker, topology = FakeBroker(EARLIER), Topology([queue()])
    control = ControlChannel(broker)
    control.run(topology.declare)
    broker.arguments = CURRENT

    control.run(topology.declare)

    assert topology.adapted == []
    assert broker.declared == [CURRENT, EARLIER, EARLIER, CURRENT]
