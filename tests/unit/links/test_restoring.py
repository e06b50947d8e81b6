"""What is declared again on a new connection, and which added queues are forgotten because they were removed."""

from collections.abc import Callable
from typing import Any

import pytest
from amqp.exceptions import AccessRefused, NotFound
from kombu import Exchange, Queue

from amphora.driver.progress import Unanswered
from amphora.links.restoring import removed, restore
from amphora.links.topology import Topology

SERVICE = Exchange("rpc", "direct")


class Broker:
    """A broker with exchanges, queues and bindings; it refuses, or does not answer, what it is told to."""

    def __init__(self, *queues: str, exchanges: tuple[str, ...] = ("rpc",)) -> None:
        self.exchanges = set(exchanges)
        self.queues = set(queues)
        self.bound: list[str] = []
        self.declared: list[str] = []
        self.refused: dict[str, Exception] = {}

    def run(self, action: Callable[[Any], Any]) -> Any:
        return action(Channel(self))


class Channel:
    """As much of a channel as topologies use."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.is_open = True

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"not a method of this channel: {name}")


def added(name: str) -> Queue:
    return Queue(name, SERVICE, routing_key=f"key of {name}")


def is_local(error: Exception) -> bool:
    return isinstance(error, ValueError)


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    """What the module asks of a channel is asked of the model instead."""
    made = Broker("one", "two")

    def create(queue: Queue, channel: Channel) -> None:
        _raise(channel.broker, queue.name)
        channel.broker.exchanges.add(queue.exchange.name)
        channel.broker.queues.add(queue.name)
        channel.broker.declared.append(queue.name)

    def bind(name: str, exchange: str, routing_key: str, channel: Channel) -> None:
        _raise(channel.broker, name)
        if name not in channel.broker.queues:
            raise NotFound(f"no queue '{name}'", (50, 20), "Queue.bind", 404)
        channel.broker.bound.append(name)

    def exists(exchange: Exchange, channel: Channel) -> bool:
        return exchange.name in channel.broker.exchanges

    monkeypatch.setattr("amphora.links.restoring.create_queue", create)
    monkeypatch.setattr("amphora.links.restoring.bind_queue", bind)
    monkeypatch.setattr("amphora.links.restoring.exists", exists)
    monkeypatch.setattr(Topology, "declare_added", lambda self, channel: [create(each, channel) for each in self.added])
    monkeypatch.setattr(
        Topology,
        "bind_added",
        lambda self, channel: [bind(each.name, "rpc", each.routing_key, channel) for each in self.added],
    )
    return made


def _raise(broker: Broker, name: str) -> None:
    if name in broker.refused:
        raise broker.refused[name]


def topology_with(*names: str) -> Topology:
    topology = Topology([])
    for name in names:
        topology.add(added(name))
    return topology


def names(topology: Topology) -> list[str]:
    return [queue.name for queue in topology.added]


def test_queues_that_exist_are_bound_again_and_not_declared(broker: Broker) -> None:
    topology = topology_with("one", "two")

    restored = restore(topology, broker.run, is_local)

    assert restored == ([], [])
    assert broker.bound == ["one", "two"]
    assert broker.declared == []


def test_a_queue_that_is_missing_was_removed_and_is_forgotten_while_others_are_bound(broker: Broker) -> None:
    topology = topology_with("removed", "one")

    losses, silent = restore(topology, broker.run, is_local)

    assert [(loss.queue.name, loss.error) for loss in losses] == [("removed", None)]
    assert silent == []
    assert names(topology) == ["one"]
    assert "one" in broker.bound
    assert broker.declared == []


def test_all_queues_are_declared_on_a_broker_that_has_lost_their_exchange(broker: Broker) -> None:
    topology = topology_with("one", "two")
    broker.exchanges.clear()
    broker.queues.clear()

    restored = restore(topology, broker.run, is_local)

    assert restored == ([], [])
    assert broker.declared == ["one", "two"]
    assert names(topology) == ["one", "two"]


def test_a_broker_is_known_to_have_lost_everything_until_the_queues_are_declared(broker: Broker) -> None:
    topology = topology_with("one")
    topology.lost = True

    restore(topology, broker.run, is_local)

    assert broker.declared == ["one"]
    assert not topology.lost


def test_the_loss_is_remembered_for_the_next_connection_where_this_one_breaks(broker: Broker) -> None:
    """By then, another endpoint may have declared the exchange."""
    topology = topology_with("one")
    broker.exchanges.clear()
    broker.refused["one"] = ConnectionResetError("in the middle")

    with pytest.raises(ConnectionResetError):
        restore(topology, broker.run, is_local)
    broker.refused.clear()
    broker.exchanges.add("rpc")
    broker.queues.clear()
    restore(topology, broker.run, is_local)

    assert broker.declared == ["one"]


def test_a_queue_that_the_broker_refuses_is_kept_and_named_with_the_error(broker: Broker) -> None:
    refusal = AccessRefused("no permission", (50, 20), "Queue.bind", 403)
    topology = topology_with("one", "two")
    broker.refused["one"] = refusal

    losses, _ = restore(topology, broker.run, is_local)

    assert [(loss.queue.name, loss.error) for loss in losses] == [("one", refusal)]
    assert names(topology) == ["one", "two"]
    assert "two" in broker.bound


def test_a_queue_that_cannot_be_encoded_is_forgotten_and_named_with_the_error(broker: Broker) -> None:
    """It would fail on every connection."""
    error = ValueError("too long")
    topology = topology_with("one", "two")
    broker.refused["one"] = error

    losses, _ = restore(topology, broker.run, is_local)

    assert [(loss.queue.name, loss.error) for loss in losses] == [("one", error)]
    assert names(topology) == ["two"]


def test_a_queue_about_which_the_broker_does_not_answer_is_silent_and_kept(broker: Broker) -> None:
    topology = topology_with("one", "two")
    broker.refused["one"] = Unanswered("no answer")

    losses, silent = restore(topology, broker.run, is_local)

    assert losses == []
    assert [queue.name for queue in silent] == ["one"]
    assert names(topology) == ["one", "two"]


def test_an_error_of_the_connection_is_raised(broker: Broker) -> None:
    broker.refused["one"] = OSError("gone")

    with pytest.raises(OSError, match="gone"):
        restore(topology_with("one"), broker.run, is_local)


def test_the_log_says_how_calls_to_a_removed_queue_end() -> None:
    said = removed("rpc_s_label", "label")

    assert "'rpc_s_label' no longer exists" in said
    assert "routing key 'label' raise Unroutable until create_new_request_queue" in said
