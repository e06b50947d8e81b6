"""`CallTracker`: what becomes of a call by replies, refusals and time, without a broker."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import gevent
import pytest
from amqp.exceptions import NotFound
from gevent.event import AsyncResult

from amphora.client import call_tracker as calls_module
from amphora.client.call_tracker import CallTracker
from amphora.core.calls import PendingCall
from amphora.core.messages import OutgoingMessage
from amphora.driver.incoming_message import IncomingMessage
from amphora.exceptions import Backlogged, BrokerUnreachable, NoResult, RemoteException, RequestStage, Unroutable
from amphora.links.topology import QueueStatus, Topology, direct_exchange, durable_queue
from amphora.protocol.messages import Codec
from amphora.serializers import RpcJsonSerializer
from tests.support.eventually import wait_until


class Publisher:
    """Takes messages, and does nothing with them but what the test says."""

    def __init__(self) -> None:
        self.taken: list[OutgoingMessage] = []
        self.full = False
        self.largest = 1000
        self.refused: list[Exception] = []
        self.link: Any = self
        self.name, self.state = "test publisher", "connected"

    def publish(self, message: OutgoingMessage, *, deadline: float | None) -> None:
        if self.full:
            raise Backlogged("full")
        self.taken.append(message)

    def refuse_all(self, error: Exception) -> None:
        self.refused.append(error)

    def turn_away(self, error: Exception, *, only_endless: bool = False) -> None:
        """Nobody waits."""


class Bench:
    """Calls with a publisher and a topology of the test's."""

    def __init__(self) -> None:
        self.publisher = Publisher()
        self.topology = Topology([])
        self.consumers: list[AsyncResult[QueueStatus | None]] = []
        self.calls = CallTracker(
            "<client>",
            exchange="rpc_s_request",
            reply_to="me",
            codec=Codec(RpcJsonSerializer(), max_size=1_000_000),
            publisher=self.publisher,  # type: ignore[arg-type]
            topology=self.topology,
            default_queue=True,
            signatures=None,
            consumers=self._ask,
        )

    def _ask(self) -> AsyncResult[QueueStatus | None]:
        self.consumers.append(AsyncResult())
        return self.consumers[-1]

    def send(self, *, timeout: float | None = 60.0, routing_key: str = "", wait_publish: bool = False) -> PendingCall:
        return self.calls.send(
            "f", (1,), {}, lifetime=(timeout, None), routing_key=routing_key, wait_publish=wait_publish
        )

    def reply(self, message_id: str | None, body: Any) -> None:
        properties = {"content_type": "application/json"}
        if message_id is not None:
            properties["message_id"] = message_id
        self.calls.receive(IncomingMessage(None, 1, False, properties, json.dumps(body).encode(), "", "me"))

    def end(self, call: PendingCall, error: Exception | None) -> None:
        """Give the request of a call its outcome."""
        assert call.message is not None
        call.message.done(call.message, error)  # type: ignore[arg-type]

    def reach(self, call: PendingCall, stage: RequestStage) -> None:
        """Have the request of a call come so far."""
        assert call.message is not None
        call.message.sent_at = 0.0 if stage is RequestStage.NOT_SENT else 1.0
        if stage is RequestStage.CONFIRMED:
            self.end(call, None)

    def add_label(self, label: str) -> None:
        self.topology.add(durable_queue(f"queue of {label}", direct_exchange("rpc_s_request"), label))


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is logged as a warning."""
    found: list[str] = []
    monkeypatch.setattr(calls_module.logger, "warning", lambda text, *args, **_: found.append(text % args))
    return found


def test_a_reply_ends_its_call_with_the_result(bench: Bench) -> None:
    call = bench.send(wait_publish=True)
    bench.reply(call.id, {"result": 3})

    assert call.result.get(timeout=0) == 3
    assert call.decided is not None
    assert call.decided.is_set()
    assert call.message is not None
    assert call.message.arrived
    assert bench.calls.stats() == {
        "calls": 1,
        "replies": 1,
        "late_replies": 0,
        "untrusted": 0,
        "without_result": 0,
        "refused": 0,
        "pending": 0,
    }


def test_an_exception_in_the_reply_ends_its_call_with_that(bench: Bench) -> None:
    call = bench.send()
    bench.reply(call.id, {"exception": {"type": "KeyError", "args": ["x"]}})

    with pytest.raises(RemoteException):
        call.result.get(timeout=0)


def test_a_second_reply_is_late_and_changes_nothing(bench: Bench) -> None:
    call = bench.send()
    bench.reply(call.id, {"result": 3})
    bench.reply(call.id, {"result": 4})

    assert call.result.get(timeout=0) == 3
    assert bench.calls.stats()["late_replies"] == 1
    assert bench.consumers == []


@pytest.mark.parametrize("message_id", [None, "of another client"])
def test_a_reply_without_a_call_is_counted(bench: Bench, message_id: str | None) -> None:
    call = bench.send()
    bench.reply(message_id, {"result": 3})

    assert not call.result.ready()
    assert bench.calls.stats()["late_replies"] == 1


def test_ids_are_never_used_twice(bench: Bench) -> None:
    others = Bench()

    ids = [each.send().id for each in (bench, others, bench, others)]

    assert len(set(ids)) == 4


def test_replies_to_another_client_are_looked_into_once_a_minute(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, warnings: list[str]
) -> None:
    now = 1000.0
    monkeypatch.setattr(calls_module, "monotonic", lambda: now)
    for _ in range(50):
        bench.reply("of another client", {"result": 3})
    [asked] = bench.consumers
    asked.set(QueueStatus(messages=0, consumers=2))
    gevent.sleep(0)
    [line] = warnings
    assert "2 clients use the uuid 'me' at the same time" in line

    now += 61
    bench.reply("of another client", {"result": 3})
    assert len(bench.consumers) == 2


@pytest.mark.parametrize(
    "answer", [QueueStatus(0, 1), None, BrokerUnreachable("no answer")], ids=["one", "none", "error"]
)
def test_replies_to_a_former_client_with_this_uuid_are_no_reason_to_warn(
    bench: Bench, warnings: list[str], answer: Any
) -> None:
    bench.reply("of another client", {"result": 3})
    [asked] = bench.consumers
    if isinstance(answer, Exception):
        asked.set_exception(answer)
    else:
        asked.set(answer)
    gevent.sleep(0)

    assert warnings == []


def test_a_confirmed_request_is_accepted_and_its_call_goes_on(bench: Bench) -> None:
    call = bench.send(wait_publish=True)
    bench.end(call, None)

    assert call.accepted
    assert call.decided is not None
    assert call.decided.is_set()
    assert not call.result.ready()
    assert bench.calls.count_pending() == 1


@pytest.mark.parametrize(
    "error", [Unroutable("no queue"), BrokerUnreachable("gone")], ids=lambda each: type(each).__name__
)
def test_a_request_that_is_refused_ends_its_call(bench: Bench, error: Exception) -> None:
    call = bench.send()
    bench.end(call, error)

    with pytest.raises(type(error)):
        call.result.get(timeout=0)
    assert bench.calls.stats()["refused"] == 1


def test_a_refusal_after_the_reply_changes_nothing(bench: Bench) -> None:
    call = bench.send()
    bench.reply(call.id, {"result": 3})
    bench.end(call, Unroutable("no queue"))

    assert call.result.get(timeout=0) == 3
    assert bench.calls.stats()["refused"] == 0


def test_a_request_that_is_not_taken_leaves_no_call_behind(bench: Bench) -> None:
    bench.publisher.full = True

    with pytest.raises(Backlogged):
        bench.send()

    assert bench.calls.stats()["pending"] == bench.calls.stats()["calls"] == 0


@pytest.mark.parametrize("stage", list(RequestStage))
def test_a_call_that_takes_too_long_says_how_far_it_came(bench: Bench, stage: RequestStage) -> None:
    call = bench.send(timeout=0.01)
    bench.reach(call, stage)
    wait_until(call.result.ready)

    with pytest.raises(NoResult, match=r"No result from 'f' within 0.01 s\. The ") as error:
        call.result.get(timeout=0)
    assert (error.value.stage, error.value.function, error.value.timeout) == (stage, "f", 0.01)
    assert error.value.request_id == call.id
    assert bench.calls.stats()["without_result"] == 1


@pytest.mark.parametrize("stage", list(RequestStage))
def test_a_call_that_a_stop_ends_says_how_far_it_came(bench: Bench, stage: RequestStage) -> None:
    call = bench.send(timeout=None)
    bench.reach(call, stage)
    bench.calls.end_all()

    error = call.result.exception
    assert isinstance(error, NoResult)
    assert (error.stage, error.function, error.request_id, error.timeout) == (stage, "f", call.id, None)


def test_a_call_whose_deadline_passes_in_the_outbox_says_how_far_it_came(bench: Bench) -> None:
    call = bench.send()
    bench.end(call, NoResult("its deadline has passed", stage=RequestStage.SENT))

    error = call.result.exception
    assert isinstance(error, NoResult)
    assert (error.stage, error.function, error.request_id, error.timeout) == (RequestStage.SENT, "f", call.id, 60.0)


def test_an_error_that_ends_a_call_names_the_function_and_the_request(bench: Bench) -> None:
    refused, failed = bench.send(), bench.send()
    bench.end(refused, Unroutable("no queue", routing_key="x"))
    bench.reply(failed.id, {"exception": {"type": "ValueError", "args": []}})

    for call in (refused, failed):
        error = call.result.exception
        assert isinstance(error, Unroutable | RemoteException)
        assert (error.function, error.request_id) == ("f", call.id)


def test_an_error_that_ends_many_calls_is_one_of_its_own_for_each(bench: Bench) -> None:
    calls = [bench.send(), bench.send()]
    cause = OSError(5, "Input/output error")
    gone = BrokerUnreachable("gone", errno=5)
    gone.__cause__ = cause
    bench.calls.fail_all(gone)

    errors = [call.result.exception for call in calls]
    assert all(isinstance(each, BrokerUnreachable) and each.errno == 5 for each in errors)
    assert [getattr(each, "request_id", None) for each in errors] == [call.id for call in calls]
    assert all(each is not None and each.__cause__ is cause for each in errors)
    assert gone.request_id is None


def test_a_request_that_finds_no_room_says_so_with_its_function(bench: Bench) -> None:
    bench.publisher.full = True

    with pytest.raises(Backlogged, match="full") as error:
        bench.send()

    assert error.value.function == "f"
    assert error.value.request_id is not None


def test_a_call_that_is_forgotten_tells_those_that_watch_it(bench: Bench) -> None:
    call = bench.send()
    bench.calls.forget(call)
    bench.calls.forget(call)

    with pytest.raises(NoResult, match="its caller was ended"):
        call.result.get(timeout=0)


def test_a_stop_ends_only_calls_without_a_deadline(bench: Bench) -> None:
    endless, other = bench.send(timeout=None), bench.send()
    bench.calls.end_endless()

    with pytest.raises(NoResult, match="stopped"):
        endless.result.get(timeout=0)
    assert not other.result.ready()


def test_a_failure_ends_every_call(bench: Bench) -> None:
    every = [bench.send(timeout=None), bench.send()]
    bench.calls.fail_all(BrokerUnreachable("for good"))

    for call in every:
        with pytest.raises(BrokerUnreachable):
            call.result.get(timeout=0)
    assert len(bench.publisher.refused) == 1


# Routes that are gone.


class Channel:
    """Says whether there is a queue, and notes what is bound."""

    def __init__(self, *, there: bool) -> None:
        self.there = there
        self.bound: list[tuple[str, str, str]] = []

    def queue_bind(self, queue: str, exchange: str, routing_key: str) -> None:
        if not self.there:
            raise NotFound("no queue", (50, 20), "queue.bind", 404)
        self.bound.append((queue, exchange, routing_key))


def restoring(bench: Bench, routing_key: str) -> Callable[[Any], Any] | None:
    message = bench.send(routing_key=routing_key).message
    assert message is not None
    assert message.restore is not None
    found: Callable[[Any], Any] | None = message.restore(message)
    return found


def test_the_service_s_own_queue_is_declared_again(bench: Bench, warnings: list[str]) -> None:
    assert restoring(bench, "") == bench.topology.declare
    assert "declaring it again" in warnings[0]


def test_a_label_s_queue_is_bound_again(bench: Bench, warnings: list[str]) -> None:
    bench.add_label("Alice")
    restore, channel = restoring(bench, "Alice"), Channel(there=True)
    assert isinstance(restore, partial)
    restore(channel)

    assert channel.bound == [("queue of Alice", "rpc_s_request", "Alice")]
    assert len(warnings) == 1
    assert "had lost its binding" in warnings[0]


def test_a_label_s_queue_that_was_removed_is_forgotten(bench: Bench, warnings: list[str]) -> None:
    bench.add_label("Alice")
    restore, channel = restoring(bench, "Alice"), Channel(there=False)
    assert isinstance(restore, partial)
    restore(channel)

    assert channel.bound == []
    assert "no longer exists" in warnings[0]
    assert restoring(bench, "Alice") is None
    assert len(warnings) == 1


def test_the_route_of_a_label_that_others_created_is_not_ours_to_restore(bench: Bench) -> None:
    assert restoring(bench, "Bob") is None
