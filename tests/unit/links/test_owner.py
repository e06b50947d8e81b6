"""The greenlet that owns a connection can end in any way, and stopping can be interrupted; no broker."""

import time
from typing import Any

import gevent
import pytest
from gevent.event import Event

from amphora.exceptions import BrokerError
from amphora.links.connection import Link
from amphora.options.brokers import BrokerAddress
from amphora.options.settings import LinkSettings
from tests.support.eventually import wait_until
from tests.unit.links.fakes import FakeConnection


class Connection(FakeConnection):
    """A connection on which nothing arrives, and which may not answer to a close."""

    def __init__(self, closes: bool) -> None:
        self.awake, self.abandoned = Event(), Event()
        self._closes = closes
        self.in_hand: bytes | None = None
        self.error: Exception | None = None

    def pump(self) -> None:
        self.awake.wait()
        self.awake.clear()
        if self.error is not None:
            raise self.error

    def wake(self) -> None:
        self.awake.set()

    def abandon(self) -> None:
        self.abandoned.set()
        self.awake.set()

    def close(self) -> None:
        if not self._closes:
            gevent.sleep(60)
        self.abandon()


class Worker:
    """Counts what it is told; may fail when it is told that the connection is gone."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.fails_to_detach = 0

    def attach(self, connection: Any) -> None:
        self.told.append("attach")

    def detach(self) -> None:
        self.told.append("detach")
        if self.fails_to_detach:
            self.fails_to_detach -= 1
            raise LookupError("a bug")

    def work(self) -> None:
        """Nothing is to be done."""

    finish = work


class Made:
    """A link, its worker and its connections."""

    def __init__(self, *, closes: bool = True) -> None:
        self.worker = Worker()
        self.connections: list[Connection] = []
        self.fatal: list[BrokerError] = []
        settings = LinkSettings((BrokerAddress("amqp", "localhost", 5672, "guest"),), reconnect_delay=0.01)
        self.link = Link("test", settings, self.worker, on_fatal=self.fatal.append)

        def establish(address: BrokerAddress) -> Connection:
            self.connections.append(Connection(closes))
            return self.connections[-1]

        self.link._establish = establish  # type: ignore[method-assign]

    def connect(self) -> None:
        self.link.start()
        assert self.link.attached.wait(10)


@pytest.fixture
def made() -> Any:
    made = Made()
    yield made
    made.link.stop(1)


@pytest.fixture
def mute() -> Any:
    made = Made(closes=False)
    yield made
    made.link.stop(0)


def attached_again(made: Made, connections: int) -> None:
    wait_until(lambda: len(made.connections) == connections and made.link.connected)


@pytest.mark.expects_errors("the greenlet of the connection has ended")
def test_an_owner_that_was_killed_is_replaced(made: Made) -> None:
    made.connect()
    first = made.link._greenlet
    assert first is not None

    first.kill()

    attached_again(made, 2)
    assert made.connections[0].abandoned.is_set()
    assert made.worker.told == ["attach", "detach", "attach"]


@pytest.mark.expects_errors("the greenlet of the connection has ended")
def test_an_owner_that_was_killed_before_it_began_is_replaced(made: Made) -> None:
    made.link.start()
    first = made.link._greenlet
    assert first is not None

    first.kill(block=False)

    attached_again(made, 1)


@pytest.mark.expects_errors("LookupError")
def test_an_error_while_the_worker_is_detached_does_not_end_it(made: Made) -> None:
    made.connect()
    made.worker.fails_to_detach = 1

    made.connections[0].error = OSError("cut")
    made.link.wake()

    attached_again(made, 2)


def test_a_stop_that_its_callers_timeout_interrupts_goes_on_by_itself(mute: Made) -> None:
    mute.connect()

    with pytest.raises(gevent.Timeout), gevent.Timeout(0.05):
        mute.link.stop(0.3)

    assert not mute.link.running
    wait_until(lambda: mute.link.state == "stopped")
    assert mute.connections[0].abandoned.is_set()
    assert mute.worker.told == ["attach", "detach"]


def test_a_start_after_an_interrupted_stop_connects_again(mute: Made) -> None:
    mute.connect()
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.05):
        mute.link.stop(0.3)

    mute.link.start()

    attached_again(mute, 2)


def test_a_stop_ends_in_time_where_the_broker_does_not_answer(mute: Made) -> None:
    mute.connect()
    began = time.monotonic()

    mute.link.stop(0.2)

    assert 0.15 < time.monotonic() - began < 2
    assert mute.link.state == "stopped"


def test_an_abort_lets_a_start_follow_at_once(made: Made) -> None:
    made.connect()

    made.link.abort()
    made.link.start()

    attached_again(made, 2)
    assert made.worker.told == ["attach", "detach", "attach"]


@pytest.mark.expects_errors("it is set aside", "unexpected error, connecting anew")
def test_what_was_in_hand_when_connections_broke_is_a_suspect(made: Made) -> None:
    made.connect()
    header = b"\x00\x3c\x00\x00\x00\x00\x00\x00\x00\x00\x00\x03\x00\x00"
    for number in range(1, 4):
        assert not made.link.suspicion.is_suspect(header)
        made.connections[-1].in_hand, made.connections[-1].error = header, ValueError("unreadable")
        made.link.wake()
        attached_again(made, number + 1)

    assert made.link.suspicion.is_suspect(header)
    assert made.connections[-1].suspicion is made.link.suspicion  # type: ignore[attr-defined]
