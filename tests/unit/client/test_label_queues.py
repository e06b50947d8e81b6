"""A client's label queues: created and removed in their turn, with errors raised or logged."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import gevent
import pytest
from gevent.event import AsyncResult, Event
from kombu import Exchange, Queue

from amphora.client.label_queues import LabelQueues
from amphora.exceptions import AccessRefused, BrokerUnreachable
from amphora.links.topology import Topology
from tests.support.eventually import wait_until


class Publisher:
    """Keeps what it is to run, until `carry_out` is called."""

    link = SimpleNamespace(name="client publisher", state="connecting")

    def __init__(self) -> None:
        self.waiting: list[tuple[Callable[[Any], Any], AsyncResult[Any]]] = []
        self.holds: list[Any] = []

    def run(self, action: Callable[[Any], Any], *, holds: Any = None) -> AsyncResult[Any]:
        result: AsyncResult[Any] = AsyncResult()
        self.waiting.append((action, result))
        self.holds.append(holds)
        return result

    def carry_out(self, error: Exception | None = None) -> None:
        action, result = self.waiting.pop(0)
        if error is not None:
            result.set_exception(error)
            return
        action(None)
        result.set(None)


class Desk:
    """Label queues with a broker on which everything succeeds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, timeout: float | None = 30.0) -> None:
        self.publisher = Publisher()
        self.topology = Topology([])
        self.stopped = Event()
        self.now = 100.0
        self.said: list[tuple[str, str]] = []
        #: Whether each queue that was created replaces one that is just gone.
        self.replaces: list[bool] = []
        self.queues = LabelQueues(self.publisher, self.topology, self.new_queue, timeout, self.stopped)  # type: ignore[arg-type]
        monkeypatch.setattr("amphora.client.label_queues.create_queue", self._create)
        monkeypatch.setattr(
            "amphora.client.label_queues.delete_queue", lambda name, _: self.said.append(("delete", name))
        )
        monkeypatch.setattr("amphora.client.label_queues.monotonic", lambda: self.now)

    def new_queue(self, name: str, routing_key: str, x_expires: int | None) -> Any:
        return Queue(name, Exchange("rpc", "direct"), routing_key=routing_key, expires=x_expires)

    def _create(self, queue: Any, _: Any) -> None:
        self.said.append(("create", queue.name))
        self.replaces.append(queue.replaces)

    def create(self, name: str = "q") -> None:
        self.queues.create(name, f"key of {name}", x_expires=None, nowait=True)

    def remove(self, name: str = "q") -> None:
        self.queues.remove(name, nowait=True)

    def carry_out(self) -> None:
        while self.publisher.waiting:
            self.publisher.carry_out()

    @property
    def added(self) -> list[str]:
        return [queue.name for queue in self.topology.added]


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(monkeypatch)


def test_a_queue_is_noted_in_its_turn_and_not_before(desk: Desk) -> None:
    """After a reconnect in between, one that was noted but not created would look like one that was removed."""
    desk.create()
    before = desk.added

    desk.carry_out()

    assert before == []
    assert desk.added == ["q"]


def test_a_queue_is_forgotten_at_once_when_it_is_removed(desk: Desk) -> None:
    """A reconnect in between must not declare it again."""
    desk.create()
    desk.carry_out()

    desk.remove()

    assert desk.added == []
    desk.carry_out()
    assert desk.said == [("create", "q"), ("delete", "q")]


def test_a_queue_whose_creation_waits_while_it_is_removed_is_not_noted_afterwards(desk: Desk) -> None:
    desk.create()
    desk.remove()

    desk.carry_out()

    assert desk.said == [("create", "q"), ("delete", "q")]
    assert desk.added == []


def test_only_requests_with_the_key_of_the_queue_wait_for_it(desk: Desk) -> None:
    desk.create()
    desk.carry_out()
    desk.remove()
    desk.remove("of another client")

    assert desk.publisher.holds == [("rpc", "key of q"), ("rpc", "key of q"), None]


@pytest.mark.parametrize(("later", "replaces"), [(0.0, True), (0.9, True), (1.0, False)])
def test_a_queue_replaces_one_of_its_name_that_was_removed_less_than_a_second_ago(
    desk: Desk, later: float, replaces: bool
) -> None:
    desk.remove()
    desk.carry_out()
    desk.now += later

    desk.create()
    desk.carry_out()

    assert desk.replaces == [replaces]


def test_a_queue_replaces_neither_one_of_another_name_nor_the_same_one_twice(desk: Desk) -> None:
    desk.remove()
    desk.create("other")
    desk.create()
    desk.create()

    desk.carry_out()

    assert desk.replaces == [False, True, False]


def test_removed_queues_are_not_remembered_for_longer(desk: Desk) -> None:
    for number in range(10):
        desk.remove(f"q{number}")
        desk.carry_out()
        desk.now += 0.5

    assert list(desk.queues._removed) == ["q8", "q9"]


def test_it_waits_until_the_broker_has_created_the_queue(desk: Desk) -> None:
    creating = gevent.spawn(desk.queues.create, "q", "key", x_expires=None, nowait=False)
    wait_until(lambda: desk.publisher.waiting, message="the creation waits")
    gevent.sleep(0)
    waited = not creating.ready()

    desk.carry_out()
    creating.get(timeout=10)

    assert waited


def test_what_the_broker_refuses_is_raised(desk: Desk) -> None:
    removing = gevent.spawn(desk.queues.remove, "q", nowait=False)
    wait_until(lambda: desk.publisher.waiting, message="the removal waits")

    desk.publisher.carry_out(AccessRefused("no permission"))

    with pytest.raises(AccessRefused, match="no permission"):
        removing.get(timeout=10)


@pytest.mark.expects_errors("creating queue 'q' failed: no permission")
def test_what_the_broker_refuses_is_logged_where_it_is_not_waited_for(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    desk.create()

    desk.publisher.carry_out(AccessRefused("no permission"))
    wait_until(lambda: caplog.records, message="it is logged")

    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (logging.ERROR, "creating queue 'q' failed: no permission")
    ]


def test_a_broker_that_does_not_answer_in_time_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(monkeypatch, timeout=0.01)

    with pytest.raises(
        BrokerUnreachable, match=r"deleting queue 'q' was not confirmed within 0.01 s \(client publisher: "
    ):
        desk.queues.remove("q", nowait=False)


def test_without_a_time_limit_the_wait_ends_when_the_client_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(monkeypatch, timeout=None)
    removing = gevent.spawn(desk.queues.remove, "q", nowait=False)
    wait_until(lambda: desk.publisher.waiting, message="the removal waits")

    desk.stopped.set()

    with pytest.raises(
        BrokerUnreachable, match=r"deleting queue 'q' was not confirmed \(client publisher: connecting\)"
    ):
        removing.get(timeout=10)
