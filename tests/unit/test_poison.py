"""Tries are counted before they are made, and the last one is made alone; on a publisher that only notes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent
import pytest
from gevent.event import AsyncResult, Event

from amphora import poison
from amphora.exceptions import AccessRefused, AmqpRpcException, DeadLettered, PublishNacked
from amphora.job import Job
from amphora.links.delivery import Delivery
from amphora.links.outgoing import Outgoing
from amphora.links.topology import Topology
from amphora.poison import Attempt, PoisonGuard
from amphora.protocol.names import Names
from tests.support.eventually import wait_until


class NotingPublisher:
    """Answers every question for a count with one number, and confirms or refuses every message.

    Attributes:
        count: The number; an error to raise; None to not answer.
        refusal: The error that messages are refused with.
        published: The messages.
    """

    def __init__(self) -> None:
        self.count: int | AmqpRpcException | None = 0
        self.refusal: AmqpRpcException | None = None
        self.published: list[Outgoing] = []

    def run(self, action: Callable[[Any], Any]) -> AsyncResult[Any]:
        answer: AsyncResult[Any] = AsyncResult()
        if isinstance(self.count, AmqpRpcException):
            answer.set_exception(self.count)
        elif self.count is not None:
            answer.set(self.count)
        return answer

    def publish_now(self, message: Outgoing) -> None:
        self.published.append(message)
        message.done(message, self.refusal)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is waited for: what answers, answers at once."""
    monkeypatch.setattr(poison, "_ANSWER", 0.01)
    monkeypatch.setattr(poison, "_AGAIN", 0.01)


@pytest.fixture
def publisher() -> NotingPublisher:
    return NotingPublisher()


@pytest.fixture
def guard(publisher: NotingPublisher) -> PoisonGuard:
    given: Any = publisher
    return PoisonGuard("test", names=Names("math"), limit=3, publisher=given, topology=Topology([]))


def new_job(message_id: str = "m1") -> Job:
    return Job(Delivery(None, 1, True, {"message_id": message_id, "reply_to": "c"}, b"body"), None)


def attempt(guard: PoisonGuard, job: Job, *, wanted: bool = True) -> Attempt:
    """Make an attempt that settles its job."""
    with guard.attempt(job, lambda: wanted) as decision:
        if job.settled is not None:
            job.settled.set()
    return decision


@pytest.mark.parametrize("count", [0, 1])
def test_a_try_within_the_limit_is_counted_and_made(guard: PoisonGuard, publisher: NotingPublisher, count: int) -> None:
    publisher.count = count

    assert attempt(guard, new_job()) is Attempt.RUN

    (counted,) = publisher.published
    assert counted.exchange == "rpc_math_dead"
    assert counted.routing_key.startswith("rpc_math_")
    assert counted.routing_key.endswith("_tries")
    assert counted.properties == {"delivery_mode": 2}


@pytest.mark.parametrize("count", [2, 3, 100])
def test_a_try_too_many_is_not_made(guard: PoisonGuard, publisher: NotingPublisher, count: int) -> None:
    publisher.count = count

    assert attempt(guard, new_job()) is Attempt.BURY

    assert publisher.published == []


@pytest.mark.parametrize("count", [0, 1])
def test_a_request_that_is_not_wanted_any_more_is_not_counted(
    guard: PoisonGuard, publisher: NotingPublisher, count: int
) -> None:
    publisher.count = count

    assert attempt(guard, new_job(), wanted=False) is Attempt.GIVE_BACK

    assert publisher.published == []


@pytest.mark.parametrize("count", [0, 1])
def test_a_try_that_could_not_be_counted_is_not_made(
    guard: PoisonGuard, publisher: NotingPublisher, count: int
) -> None:
    publisher.count, publisher.refusal = count, PublishNacked("full")

    assert attempt(guard, new_job()) is Attempt.GIVE_BACK


def test_a_request_whose_count_nobody_tells_is_given_back(guard: PoisonGuard, publisher: NotingPublisher) -> None:
    publisher.count = None

    assert attempt(guard, new_job()) is Attempt.GIVE_BACK


def test_where_the_broker_refuses_to_count_a_try_is_made_uncounted(
    guard: PoisonGuard, publisher: NotingPublisher, caplog: pytest.LogCaptureFixture
) -> None:
    publisher.count = AccessRefused("no")
    job = new_job()

    assert attempt(guard, job) is Attempt.RUN

    assert publisher.published == []
    assert job.settled is None
    assert "the tries of request 'm1' cannot be counted: no" in caplog.text


def test_a_last_try_is_counted_when_the_one_before_is_settled(guard: PoisonGuard, publisher: NotingPublisher) -> None:
    publisher.count = 1
    first, second = new_job("m1"), new_job("m2")
    began, returned = [Event(), Event()], [Event(), Event()]

    def run(job: Job, began: Event, returned: Event) -> None:
        with guard.attempt(job, lambda: True):
            began.set()
        returned.set()

    for job, *events in zip((first, second), began, returned, strict=True):
        gevent.spawn(run, job, *events)
    assert began[0].wait(10)
    gevent.idle()
    assert (len(publisher.published), began[1].is_set(), returned[0].is_set()) == (1, False, False)

    assert first.settled is not None
    first.settled.set()

    assert began[1].wait(10)
    assert returned[0].wait(10)
    assert len(publisher.published) == 2


def test_one_request_has_one_counter_wherever_it_is_delivered(guard: PoisonGuard, publisher: NotingPublisher) -> None:
    for message_id in ("m1", "m1", "m2"):
        attempt(guard, new_job(message_id))

    first, again, other = (message.routing_key for message in publisher.published)
    assert first == again != other


def test_a_service_name_too_long_for_a_counter_is_refused_at_once(publisher: NotingPublisher) -> None:
    given: Any = publisher

    with pytest.raises(ValueError, match="service_name is too long"):
        PoisonGuard("test", names=Names("x" * 230), limit=3, publisher=given, topology=Topology([]))


def test_a_condemned_request_is_told_when_the_dead_letter_is_confirmed(
    guard: PoisonGuard, publisher: NotingPublisher
) -> None:
    publisher.refusal = PublishNacked("full")
    told: list[DeadLettered] = []
    job = new_job()

    guard.condemn(job, "rpc_math_request", then=told.append)
    assert told == []
    publisher.refusal = None
    wait_until(lambda: told)

    assert [str(error)[:23] for error in told] == ["given up after 3 tries:"]
    assert job.apart
    assert {(each.exchange, each.routing_key) for each in publisher.published} == {("rpc_math_dead", "rpc_math_dead")}
    assert publisher.published[0].body == b"body"
