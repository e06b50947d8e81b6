"""Requests that no server finishes: given up after `delivery_limit` tries, kept, and told to their callers."""

import json
import logging
from datetime import UTC, datetime
from time import time
from typing import Any

import amqp
import pytest

from amphora import (
    AmqpRpcClient,
    AmqpRpcFanoutClient,
    AmqpRpcFanoutServer,
    DeadLettered,
    IgnoreRequest,
    TopologyConflict,
    sign_request,
)
from tests.integration.conftest import NewClient, NewServer
from tests.integration.functions import Noting
from tests.integration.original import OriginalClient, taken
from tests.support.broker import Broker
from tests.support.eventually import wait_until

Options = dict[str, Any]

#: What every quorum queue is declared with.
QUORUM = {"x-queue-type": "quorum", "x-consumer-disconnected-timeout": 10_000}


class Ignoring(Noting):
    """A remote function that ignores its first calls.

    Attributes:
        times: How many it ignores.
    """

    __name__ = "work"

    def __init__(self, times: float = float("inf")) -> None:
        super().__init__()
        self.times = times

    def __call__(self, value: Any = "done") -> Any:
        super().__call__(value)
        if len(self.runs) <= self.times:
            raise IgnoreRequest
        return value


@pytest.fixture
def options() -> Options:
    """Three tries, in quick turns."""
    return {"delivery_limit": 3, "ignore_delay": 0.01}


def counters(broker: Broker, service: str) -> list[str]:
    """Return the queues that count tries of the service's requests."""
    return [name for name in broker.queues() if name.startswith(f"rpc_{service}_") and name.endswith("_tries")]


def dead_letter(channel: amqp.Channel, service: str) -> amqp.Message:
    return taken(channel, f"rpc_{service}_dead")


def test_an_ignored_request_is_given_up_after_as_many_tries(
    new_server: NewServer, client: AmqpRpcClient, options: Options
) -> None:
    work = Ignoring()
    server = new_server(work, **options)

    with pytest.raises(DeadLettered, match=r"given up after 3 tries: .*IgnoreRequest; the request from .* is in"):
        client.call.work()

    assert len(work.runs) == 3
    assert server.stats()["dead_lettered"] == 1


def test_a_dead_letter_is_the_request_and_says_where_it_comes_from(
    new_server: NewServer, client: AmqpRpcClient, options: Options, amqp_channel: amqp.Channel, service: str
) -> None:
    new_server(Ignoring(), **options)
    with pytest.raises(DeadLettered):
        client.call(timeout=20, expires=True).work("value")

    message = dead_letter(amqp_channel, service)

    assert json.loads(message.body) == {"func": "work", "args": ["value"], "kwargs": {}}
    assert message.properties["reply_to"] == client.uuid
    assert message.properties["delivery_mode"] == 2
    # Without its deadline, so that it does not expire when it is given back.
    assert "expiration" not in message.properties
    headers = message.properties["application_headers"]
    # Of a quorum queue since RabbitMQ 4.3, and of one of 4.0.
    headers.pop("x-acquired-count", None)
    headers.pop("x-delivery-count", None)
    assert abs(headers.pop("x-amphora-held-deadline") / 1000 - time() - 20) < 20
    assert headers == {
        "x-amphora-queue": f"rpc_{service}_request",
        "x-amphora-routing-key": "",
        "x-amphora-reason": "delivery_limit",
        "x-amphora-tries": 3,
    }


def test_nothing_is_left_of_it_elsewhere(
    new_server: NewServer, client: AmqpRpcClient, options: Options, broker: Broker, service: str
) -> None:
    new_server(Ignoring(), **options)

    with pytest.raises(DeadLettered):
        client.call.work()

    wait_until(lambda: broker.queues()[f"rpc_{service}_request"].messages == 0)
    wait_until(lambda: counters(broker, service) == [])
    assert broker.queues()[f"rpc_{service}_dead"].messages == 1


def test_a_request_that_is_finished_at_its_last_try_is_answered(
    new_server: NewServer, client: AmqpRpcClient, options: Options, broker: Broker, service: str
) -> None:
    work = Ignoring(times=2)
    server = new_server(work, **options)

    assert client.call.work("finished") == "finished"

    assert len(work.runs) == 3
    assert server.stats()["dead_lettered"] == 0
    wait_until(lambda: counters(broker, service) == [])


def test_other_requests_go_on_meanwhile(
    new_server: NewServer, client: AmqpRpcClient, note: Noting, options: Options
) -> None:
    new_server(Ignoring(), note, **options)
    poison = [client.defer.work(number) for number in range(20)]

    assert [client.call.note(number) for number in range(20)] == list(range(20))

    for result in poison:
        with pytest.raises(DeadLettered):
            result.get(timeout=30)


def test_tries_of_all_servers_count_together(new_server: NewServer, client: AmqpRpcClient, options: Options) -> None:
    ours, theirs = Ignoring(), Ignoring()
    new_server(ours, connected=True, **options)
    new_server(theirs, connected=True, **options)

    with pytest.raises(DeadLettered):
        client.call.work()

    assert len(ours.runs) + len(theirs.runs) == 3


def test_a_request_of_a_label_is_given_up_too(
    new_server: NewServer, client: AmqpRpcClient, options: Options, alice: str, amqp_channel: amqp.Channel, service: str
) -> None:
    server = new_server(Ignoring(), **options)
    server.receive_from_queue(alice, block=False)

    with pytest.raises(DeadLettered):
        client.call(routing_key=alice).work()

    headers = dead_letter(amqp_channel, service).properties["application_headers"]
    assert headers["x-amphora-queue"] == f"rpc_{service}_queue_{alice}"


def test_a_dead_letter_that_is_put_back_into_its_queue_runs_as_if_new(
    new_server: NewServer, client: AmqpRpcClient, options: Options, amqp_channel: amqp.Channel, service: str
) -> None:
    work = Ignoring(times=5)
    new_server(work, **options)
    with pytest.raises(DeadLettered):
        client.call.work("value")
    message = dead_letter(amqp_channel, service)

    amqp_channel.basic_publish(message, "", message.properties["application_headers"]["x-amphora-queue"])

    wait_until(lambda: len(work.runs) == 6)
    wait_until(lambda: client.stats()["late_replies"] == 1)


@pytest.mark.endpoints(queue_type="classic")
def test_a_request_that_cannot_be_read_and_has_no_reply_to_is_kept(
    new_server: NewServer, options: Options, amqp_channel: amqp.Channel, service: str
) -> None:
    server = new_server(connected=True, **options)
    OriginalClient(amqp_channel, service).send(b"\xff\x00 no request", reply_to=None)

    message = dead_letter(amqp_channel, service)

    assert message.body == b"\xff\x00 no request"
    assert message.properties["application_headers"]["x-amphora-reason"] == "unreadable"
    wait_until(lambda: server.stats()["running"] == 0)
    assert server.stats()["dropped"] == 1


@pytest.mark.parametrize(
    "properties",
    [
        {"user_id": "guest"},
        {"expiration": "60000"},
        {"delivery_mode": 1},
        {"message_id": None},
        {"application_headers": {"at": datetime(2026, 1, 1, tzinfo=UTC), "nested": {"list": [1, None]}, "n": 2**62}},
        {"application_headers": {"x-death": [{"queue": "q", "count": 1}], "text": "grüße", "\ud800": "\ud800"}},
    ],
    ids=lambda properties: next(iter(properties)),
)
@pytest.mark.endpoints(queue_type="classic")
def test_whatever_a_foreign_request_carries_it_can_be_given_up(
    new_server: NewServer, options: Options, amqp_channel: amqp.Channel, service: str, properties: Options
) -> None:
    server = new_server(Ignoring(), connected=True, **options)
    OriginalClient(amqp_channel, service).send(b'{"func": "work", "args": [], "kwargs": {}}', **properties)

    message = dead_letter(amqp_channel, service)

    assert message.properties["application_headers"]["x-amphora-tries"] == 3
    wait_until(lambda: server.stats()["running"] == 0)
    assert server.stats()["reconnects"] == 0


def test_a_client_of_the_original_is_told_by_name(
    new_server: NewServer, options: Options, amqp_channel: amqp.Channel, service: str
) -> None:
    new_server(Ignoring(), **options)

    answer = OriginalClient(amqp_channel, service).call("work")

    assert answer["exception"]["type"] == "DeadLettered"


@pytest.mark.expects_errors("trying again")
def test_a_dead_letter_is_not_lost_when_its_queue_is_gone(
    new_server: NewServer,
    client: AmqpRpcClient,
    options: Options,
    broker: Broker,
    amqp_channel: amqp.Channel,
    service: str,
) -> None:
    new_server(Ignoring(), connected=True, **options)
    broker.delete_queue(f"rpc_{service}_dead")

    with pytest.raises(DeadLettered):
        client.call.work()

    assert dead_letter(amqp_channel, service).properties["reply_to"] == client.uuid


@pytest.mark.expects_errors("refuses access")
def test_a_server_that_may_not_count_runs_the_requests_all_the_same(
    new_server: NewServer, client: AmqpRpcClient, broker: Broker, service: str, caplog: pytest.LogCaptureFixture
) -> None:
    work = Ignoring(times=3)
    permissions = rf"^rpc_{service}_(request|response|dead)$"
    broker.add_user(service[:200], "secret", permissions=permissions)
    url = broker.url_for(user=service[:200], password="secret")

    with caplog.at_level(logging.ERROR, "amphora"):
        new_server(work, broker_url=url, connected=True, delivery_limit=2, ignore_delay=0.01)
        assert client.call.work("run") == "run"

    assert "tries of request" in caplog.text
    assert "lacks a permission" in caplog.text


# Off unless it is asked for.


def test_by_default_nothing_is_declared_for_it_and_nothing_given_up(
    new_server: NewServer, client: AmqpRpcClient, broker: Broker, service: str
) -> None:
    work = Ignoring(times=25)
    new_server(work, ignore_delay=0)

    assert client.call.work("run") == "run"

    declared = [*broker.queues(), *broker.exchanges()]
    assert [name for name in declared if service in name and name.endswith(("_dead", "_tries"))] == []


def test_it_can_be_switched_on_where_queues_and_clients_are_there_already(
    new_server: NewServer, client: AmqpRpcClient, options: Options
) -> None:
    assert client.wait_connected(20)
    without = new_server(connected=True)
    without.stop()

    new_server(Ignoring(), **options)

    with pytest.raises(DeadLettered):
        client.call.work()


def test_a_fanout_server_may_have_a_limit_as_well(new_server: NewServer, new_client: NewClient, note: Noting) -> None:
    new_server(note, cls=AmqpRpcFanoutServer, delivery_limit=2, queue_type="quorum", connected=True)

    assert new_client(cls=AmqpRpcFanoutClient).call.note("news") == "news"


def test_over_memory_ignored_requests_are_given_up_too(
    new_server: NewServer, new_client: NewClient, options: Options
) -> None:
    work = Ignoring()
    new_server(work, broker_url="memory://", **options)

    with pytest.raises(DeadLettered):
        new_client(broker_url="memory://").call.work()

    assert len(work.runs) == 3


# Quorum queues.


def test_quorum_queues_have_a_limit_by_default_and_a_further_one_of_the_broker(
    new_server: NewServer, new_client: NewClient, broker: Broker, service: str, label: str
) -> None:
    new_server(connected=True, queue_type="quorum")
    client = new_client(queue_type="quorum")
    client.create_new_request_queue(label)

    queues = broker.queues()

    of_requests = {
        **QUORUM,
        "x-delivery-limit": 10_000,
        "x-dead-letter-exchange": f"rpc_{service}_dead",
        "x-dead-letter-routing-key": f"rpc_{service}_dead",
    }
    assert queues[f"rpc_{service}_request"].arguments == of_requests
    assert queues[f"rpc_{service}_queue_{label}"].arguments == of_requests
    assert queues[f"rpc_{service}_dead"].arguments == {**QUORUM, "x-delivery-limit": 10**9}


def test_quorum_queues_without_a_limit_do_not_have_the_default_one_of_the_broker(
    new_server: NewServer, broker: Broker, service: str
) -> None:
    new_server(connected=True, queue_type="quorum", delivery_limit=0)

    queues = broker.queues()

    assert queues[f"rpc_{service}_request"].arguments == {**QUORUM, "x-delivery-limit": 10**9}
    assert f"rpc_{service}_dead" not in queues


def test_a_request_in_a_quorum_queue_is_given_up_and_its_caller_told(
    new_server: NewServer, new_client: NewClient, options: Options, amqp_channel: amqp.Channel, service: str
) -> None:
    work = Ignoring()
    new_server(work, queue_type="quorum", **options)

    with pytest.raises(DeadLettered):
        new_client(queue_type="quorum", delivery_limit=3).call.work()

    assert len(work.runs) == 3
    assert dead_letter(amqp_channel, service).properties["application_headers"]["x-amphora-tries"] == 3


def test_what_comes_back_to_a_quorum_queue_again_and_again_uncounted_the_broker_dead_letters(
    new_server: NewServer, new_client: NewClient, broker: Broker, amqp_channel: amqp.Channel, service: str
) -> None:
    server = new_server(connected=True, queue_type="quorum", delivery_limit=2)
    server.stop()
    # For the test only: 10,000 otherwise.
    broker.set_policy(service, f"^rpc_{service}_request$", {"delivery-limit": 20})
    new_client(queue_type="quorum", delivery_limit=2).defer.work()

    for _ in range(21):
        # What a server of another kind, or one that always dies before it counts, does.
        message = wait_until(lambda: amqp_channel.basic_get(f"rpc_{service}_request"))
        amqp_channel.basic_reject(message.delivery_tag, requeue=True)

    headers = dead_letter(amqp_channel, service).properties["application_headers"]
    broker.clear_policy(service)
    assert headers["x-first-death-reason"] == "delivery_limit"


@pytest.mark.parametrize(
    "of_client", [{"queue_type": "classic"}, {"queue_type": "quorum", "delivery_limit": 0}], ids=["type", "limit"]
)
@pytest.mark.expects_errors("with another queue_type or delivery_limit")
def test_a_client_that_differs_from_its_server_is_told_what_has_to_be_equal(
    new_server: NewServer, new_client: NewClient, of_client: Options
) -> None:
    new_server(connected=True, queue_type="quorum")

    with pytest.raises(
        TopologyConflict, match=r"another queue_type or delivery_limit, .* the same ones, .*or migrate: .*delete_queue"
    ):
        new_client(**of_client).call.work()


# Expired requests.


@pytest.mark.parametrize(("queue_type", "reasons"), [("quorum", ["expired"]), ("classic", [])])
def test_what_expires_in_its_queue_is_a_dead_letter_with_quorum_queues_only(
    new_server: NewServer,
    new_client: NewClient,
    amqp_channel: amqp.Channel,
    service: str,
    queue_type: str,
    reasons: list[str],
) -> None:
    server = new_server(connected=True, queue_type=queue_type, delivery_limit=5)
    server.stop()
    client = new_client(queue_type=queue_type, delivery_limit=5)
    assert client.wait_connected(20)
    # Time enough for a busy machine to send it.
    client.defer(expires=1).work()

    queue = f"rpc_{service}_request"
    wait_until(lambda: amqp_channel.queue_declare(queue, passive=True).message_count == 0)

    assert [dead_letter(amqp_channel, service).headers["x-first-death-reason"] for _ in reasons] == reasons
    assert amqp_channel.basic_get(f"rpc_{service}_dead") is None


@pytest.mark.parametrize("signed", [False, True])
def test_an_unreadable_request_with_headers_that_fill_a_frame_becomes_a_dead_letter(
    new_server: NewServer, amqp_channel: amqp.Channel, service: str, options: Options, signed: bool
) -> None:
    keys: Options = {"signing_keys": ["a key for this service"]} if signed else {}
    server = new_server(connected=True, **options, **keys)
    properties: Options = {"message_id": "1", "headers": {"large": "x" * 130_500, "small": "y"}}
    if signed:
        properties = sign_request(keys["signing_keys"], service, properties, b"\xff unreadable", routing_key="")
    headers = properties.pop("headers")
    message = amqp.Message(b"\xff unreadable", application_headers=headers, **properties)
    amqp_channel.basic_publish(message, f"rpc_{service}_request")

    kept = dead_letter(amqp_channel, service).properties["application_headers"]

    assert kept["small"] == "y"
    assert "large" not in kept
    assert ("x-amphora-signature-letter" in kept) is signed
    wait_until(lambda: server.stats()["running"] == 0)
    assert server.stats()["reconnects"] == 0
