"""The exchanges, queues and bindings that clients and servers declare, as the broker sees them."""

import re
from collections.abc import Callable
from typing import Any

import amqp
import pytest

from amphora import AmqpRpcClient, AmqpRpcFanoutClient, AmqpRpcFanoutServer, AmqpRpcServer, TopologyConflict
from tests.integration.conftest import NewClient, NewServer
from tests.support.broker import BindingInfo, Broker, ExchangeInfo, QueueInfo

HALF_AN_HOUR = 30 * 60 * 1000
#: What every queue is declared with, unless another type is asked for.
CLASSIC = {"x-queue-type": "classic"}
QUORUM = {"x-queue-type": "quorum", "x-delivery-limit": 10**9, "x-consumer-disconnected-timeout": 10_000}
A_MINUTE = 60 * 1000


class Seen:
    """What the broker holds of one service."""

    def __init__(self, broker: Broker, service: str) -> None:
        self._broker = broker
        self._service = service

    @property
    def exchanges(self) -> set[tuple[str, str]]:
        """Name and type of each exchange."""
        return {(each.name, each.type) for each in self.raw_exchanges}

    @property
    def raw_exchanges(self) -> list[ExchangeInfo]:
        return [each for name, each in self._broker.exchanges().items() if self._service in name]

    @property
    def queues(self) -> dict[str, dict[str, Any]]:
        """The arguments of each queue."""
        return {each.name: each.arguments for each in self.raw_queues}

    @property
    def raw_queues(self) -> list[QueueInfo]:
        return [each for name, each in self._broker.queues().items() if self._service in name]

    @property
    def bindings(self) -> set[tuple[str, str, str]]:
        """Exchange, queue and routing key of each binding."""
        return {(each.exchange, each.destination, each.routing_key) for each in self.raw_bindings}

    @property
    def raw_bindings(self) -> list[BindingInfo]:
        return [each for each in self._broker.bindings() if self._service in each.exchange]


@pytest.fixture
def lasting(broker: Broker) -> dict[str, Any]:
    """The arguments of a new queue that lasts."""
    return QUORUM if broker.release >= (4, 0) else CLASSIC


@pytest.fixture
def seen(broker: Broker, service: str) -> Seen:
    return Seen(broker, service)


@pytest.fixture
def connected_client(new_client: NewClient) -> Callable[..., AmqpRpcClient]:
    """Make a client that has declared everything."""

    def make(**options: Any) -> AmqpRpcClient:
        client = new_client(**options)
        assert client.wait_connected(20)
        return client

    return make


# direct


def test_a_server_declares_both_exchanges_and_the_request_queue(
    new_server: NewServer, seen: Seen, lasting: dict[str, Any], service: str
) -> None:
    new_server(connected=True, introspection=False)

    assert seen.exchanges == {(f"rpc_{service}_request", "direct"), (f"rpc_{service}_response", "direct")}
    assert seen.queues == {f"rpc_{service}_request": lasting}
    assert seen.bindings == {(f"rpc_{service}_request", f"rpc_{service}_request", "")}


def test_a_server_that_tells_about_itself_has_a_queue_for_that_too(
    new_server: NewServer, seen: Seen, lasting: dict[str, Any], service: str
) -> None:
    server = new_server(connected=True)

    control = f"rpc_{service}_{server.uuid}_control"
    assert seen.queues == {f"rpc_{service}_request": lasting, control: {"x-expires": 60_000, **CLASSIC}}
    assert seen.bindings == {
        (f"rpc_{service}_request", f"rpc_{service}_request", ""),
        (f"rpc_{service}_request", control, "amphora.control"),
    }
    [queue] = [each for each in seen.raw_queues if each.name == control]
    assert (queue.durable, queue.auto_delete, queue.exclusive) == (True, True, False)


def test_a_client_declares_these_and_a_response_queue_of_its_own(
    connected_client: Callable[..., AmqpRpcClient], seen: Seen, lasting: dict[str, Any], service: str
) -> None:
    uuid = connected_client().uuid

    assert seen.exchanges == {(f"rpc_{service}_request", "direct"), (f"rpc_{service}_response", "direct")}
    assert seen.queues == {
        f"rpc_{service}_request": lasting,
        f"rpc_{service}_{uuid}_response": {"x-expires": HALF_AN_HOUR, **CLASSIC},
    }
    assert seen.bindings == {
        (f"rpc_{service}_request", f"rpc_{service}_request", ""),
        (f"rpc_{service}_response", f"rpc_{service}_{uuid}_response", uuid),
    }


def test_everything_is_durable_and_stays_without_arguments_of_its_exchanges_and_bindings(
    new_server: NewServer, new_client: NewClient, seen: Seen, service: str
) -> None:
    for name, server, client in (
        (service, AmqpRpcServer, AmqpRpcClient),
        (f"{service}_fanout", AmqpRpcFanoutServer, AmqpRpcFanoutClient),
    ):
        new_server(service_name=name, cls=server, connected=True, introspection=False)
        new_client(service_name=name, cls=client).create_new_request_queue(f"{service}_label_of_{server.__name__}")

    assert len(seen.raw_exchanges) == 4
    assert len(seen.raw_queues) == 6
    assert len(seen.raw_bindings) == 6
    assert all(each.durable and not each.auto_delete and not each.arguments for each in seen.raw_exchanges)
    assert all(each.durable and not each.auto_delete and not each.exclusive for each in seen.raw_queues)
    assert not any(each.arguments for each in seen.raw_bindings)


def test_a_clients_uuid_names_its_response_queue_and_binding(
    connected_client: Callable[..., AmqpRpcClient], seen: Seen, service: str
) -> None:
    connected_client(uuid="core-1")

    assert f"rpc_{service}_core-1_response" in seen.queues
    assert (f"rpc_{service}_response", f"rpc_{service}_core-1_response", "core-1") in seen.bindings


def test_each_client_has_a_response_queue_of_its_own(
    connected_client: Callable[..., AmqpRpcClient], seen: Seen, service: str
) -> None:
    uuids = [connected_client().uuid for _ in range(3)]

    assert set(seen.queues) == {f"rpc_{service}_request", *(f"rpc_{service}_{uuid}_response" for uuid in uuids)}


def test_the_expiry_of_the_response_queue_can_be_set(
    connected_client: Callable[..., AmqpRpcClient], seen: Seen, service: str
) -> None:
    client = connected_client(response_queue_expires=2.5)

    assert seen.queues[f"rpc_{service}_{client.uuid}_response"] == {"x-expires": 2500, **CLASSIC}


def test_a_stopped_clients_response_queue_stays_until_its_expiry(
    connected_client: Callable[..., AmqpRpcClient], seen: Seen, service: str
) -> None:
    client = connected_client()

    client.stop()

    assert f"rpc_{service}_{client.uuid}_response" in seen.queues


def test_server_and_client_of_one_service_declare_the_same(
    new_server: NewServer, connected_client: Callable[..., AmqpRpcClient], seen: Seen
) -> None:
    client = connected_client()
    before = (seen.exchanges, seen.queues, seen.bindings)

    new_server(connected=True, introspection=False)

    assert (seen.exchanges, seen.queues, seen.bindings) == before
    assert client.connected


# fan-out


def test_a_fanout_server_declares_a_fanout_exchange_and_a_queue_of_its_own(
    new_server: NewServer, seen: Seen, service: str
) -> None:
    uuid = new_server(cls=AmqpRpcFanoutServer, connected=True).uuid

    assert seen.exchanges == {(f"rpc_{service}_request", "fanout"), (f"rpc_{service}_response", "direct")}
    assert seen.queues == {f"rpc_{service}_{uuid}_request": {"x-expires": A_MINUTE, **CLASSIC}}
    assert seen.bindings == {(f"rpc_{service}_request", f"rpc_{service}_{uuid}_request", "")}


def test_a_fanout_client_declares_the_exchanges_and_its_response_queue_only(
    connected_client: Callable[..., AmqpRpcClient], seen: Seen, service: str
) -> None:
    uuid = connected_client(cls=AmqpRpcFanoutClient).uuid

    assert seen.exchanges == {(f"rpc_{service}_request", "fanout"), (f"rpc_{service}_response", "direct")}
    assert seen.queues == {f"rpc_{service}_{uuid}_response": {"x-expires": HALF_AN_HOUR, **CLASSIC}}
    assert seen.bindings == {(f"rpc_{service}_response", f"rpc_{service}_{uuid}_response", uuid)}


def test_a_fanout_servers_uuid_and_expiry_can_be_set(new_server: NewServer, seen: Seen, service: str) -> None:
    new_server(cls=AmqpRpcFanoutServer, uuid="api-1", fanout_queue_expires=5, connected=True)

    assert seen.queues == {f"rpc_{service}_api-1_request": {"x-expires": 5000, **CLASSIC}}


# label queues


def test_a_label_queue_is_bound_to_the_request_exchange_with_its_label(
    client: AmqpRpcClient, seen: Seen, lasting: dict[str, Any], service: str
) -> None:
    label = f"Alice of {service}"

    client.create_new_request_queue(label)

    assert seen.queues[f"rpc_{service}_queue_{label}"] == lasting
    assert (f"rpc_{service}_request", f"rpc_{service}_queue_{label}", label) in seen.bindings


def test_a_label_queue_may_have_another_routing_key_and_an_expiry(
    client: AmqpRpcClient, seen: Seen, service: str
) -> None:
    label = f"Alice of {service}"

    client.create_new_request_queue(label, routing_key="alice", x_expires=90_000)

    assert seen.queues[f"rpc_{service}_queue_{label}"] == {"x-expires": 90_000, **CLASSIC}
    assert (f"rpc_{service}_request", f"rpc_{service}_queue_{label}", "alice") in seen.bindings
    assert (f"rpc_{service}_request", f"rpc_{service}_queue_{label}", label) not in seen.bindings


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("rpc_{label}_request", "rpc_Alice_{service}_request"),
        ("rpc_{namespace}_queue_{label}", "rpc_{service}_queue_Alice_{service}"),
        ("{label}", "Alice_{service}"),
        ("{label}/{label} of {namespace}", "Alice_{service}/Alice_{service} of {service}"),
        ("{{{label}}}", "{{Alice_{service}}}"),
    ],
)
def test_the_template_names_label_queues_on_both_sides(
    new_client: NewClient,
    new_server: NewServer,
    broker: Broker,
    seen: Seen,
    service: str,
    template: str,
    name: str,
) -> None:
    label, queue = f"Alice_{service}", name.format(service=service)
    server = new_server(queue_template=template, connected=True)

    new_client(queue_template=template).create_new_request_queue(label)
    with pytest.raises(ValueError, match="does not exist"):
        server.receive_from_queue(f"{label}2", wait_for_queue=False)
    server.receive_from_queue(label, wait_for_queue=False, block=False)

    assert (f"rpc_{service}_request", queue, label) in seen.bindings
    assert broker.queues()[queue].consumers == 1


@pytest.mark.parametrize("template", ["rpc_request", "{label}_{service}", "{", "{}", "{label!z}"])
def test_a_template_that_is_none_is_refused(new_client: NewClient, new_server: NewServer, template: str) -> None:
    for make in (new_client, new_server):
        with pytest.raises(ValueError, match="queue_template"):
            make(queue_template=template)


def test_a_service_name_or_uuid_too_long_for_amqp_is_refused_before_anything_is_sent(
    new_client: NewClient, new_server: NewServer
) -> None:
    for make in (new_client, new_server):
        with pytest.raises(ValueError, match=r"too long.* AMQP allows 255"):
            make(service_name="x" * 250)
    with pytest.raises(ValueError, match=r"too long.* AMQP allows 255"):
        new_client(uuid="x" * 250)
    with pytest.raises(ValueError, match=r"too long.* AMQP allows 255"):
        new_server(cls=AmqpRpcFanoutServer, uuid="x" * 250)


# conflicts


@pytest.mark.parametrize(
    ("first", "second"), [(AmqpRpcServer, AmqpRpcFanoutServer), (AmqpRpcFanoutServer, AmqpRpcServer)]
)
@pytest.mark.expects_errors("cannot share one name")
def test_a_server_of_the_other_kind_under_a_taken_name_is_told_just_that(
    new_server: NewServer, broker: Broker, service: str, first: type[AmqpRpcServer], second: type[AmqpRpcServer]
) -> None:
    new_server(cls=first, connected=True)
    server = second(service, broker_url=broker.url)

    with pytest.raises(TopologyConflict, match="a direct and a fan-out service cannot share one name"):
        server.serve(nowait=False)


@pytest.mark.parametrize(
    ("server", "client"), [(AmqpRpcServer, AmqpRpcFanoutClient), (AmqpRpcFanoutServer, AmqpRpcClient)]
)
@pytest.mark.expects_errors("cannot share one name")
def test_every_call_of_a_client_of_the_other_kind_is_told_just_that(
    new_server: NewServer, new_client: NewClient, server: type[AmqpRpcServer], client: type[AmqpRpcClient]
) -> None:
    new_server(cls=server, connected=True)
    conflicting = new_client(cls=client, timeout=20)

    for call in (conflicting.call, conflicting.defer, conflicting.call(timeout=None)):
        with pytest.raises(TopologyConflict, match="a direct and a fan-out service cannot share one name"):
            call.add(1, 2)
    with pytest.raises(TopologyConflict, match="cannot share one name"):
        conflicting.wait_connected(20)


@pytest.mark.expects_errors("cannot share one name")
def test_the_error_names_the_exchange_and_the_broker(
    new_server: NewServer, new_client: NewClient, broker: Broker, service: str
) -> None:
    new_server(connected=True)

    with pytest.raises(TopologyConflict) as caught:
        new_client(cls=AmqpRpcFanoutClient).call.add(1, 2)

    assert f"exchange 'rpc_{service}_request'" in str(caught.value)
    assert f"127.0.0.1:{broker.port}" in str(caught.value)


@pytest.mark.expects_errors("with other properties than Amphora declares")
def test_a_request_queue_with_other_properties_ends_serve_with_its_name(
    broker: Broker, amqp_channel: amqp.Channel, service: str
) -> None:
    amqp_channel.queue_declare(f"rpc_{service}_request", durable=False, auto_delete=False)
    server = AmqpRpcServer(service, broker_url=broker.url)

    with pytest.raises(TopologyConflict, match=re.escape(f"inequivalent arg 'durable' for queue 'rpc_{service}_")):
        server.serve(nowait=False)


@pytest.mark.expects_errors("with other properties than Amphora declares")
def test_a_response_queue_with_other_properties_ends_the_clients_calls_with_its_name(
    new_client: NewClient, amqp_channel: amqp.Channel, service: str
) -> None:
    amqp_channel.queue_declare(f"rpc_{service}_core-1_response", durable=True, auto_delete=False)

    with pytest.raises(TopologyConflict, match=f"inequivalent arg 'x-expires' for queue 'rpc_{service}_core-1_resp"):
        new_client(uuid="core-1").call.add(1, 2)


@pytest.mark.expects_errors("with other properties than Amphora declares")
def test_a_conflict_ends_calls_that_were_made_before_it_was_seen(
    new_client: NewClient, amqp_channel: amqp.Channel, service: str
) -> None:
    amqp_channel.queue_declare(f"rpc_{service}_request", durable=False, auto_delete=False)
    client = new_client(autostart=False)
    result = client.defer(wait_publish=False, timeout=None).add(1, 2)

    client.serve()

    with pytest.raises(TopologyConflict, match="delete it, or choose another name"):
        result.get(timeout=20)


@pytest.mark.expects_errors("with other properties than Amphora declares")
def test_after_the_conflict_is_removed_serve_works(
    new_server: NewServer, new_client: NewClient, amqp_channel: amqp.Channel, service: str
) -> None:
    amqp_channel.queue_declare(f"rpc_{service}_request", durable=False, auto_delete=False)
    client = new_client()
    with pytest.raises(TopologyConflict):
        client.call.add(1, 2)

    amqp_channel.queue_delete(f"rpc_{service}_request")
    client.serve()
    new_server().add_function(lambda x, y: x + y, name="add")

    assert client.call.add(1, 2) == 3
