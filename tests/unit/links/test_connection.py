"""Which errors end a link, and which are waited out; no broker."""

from collections.abc import Iterator
from typing import Any

import amqp
import gevent
import pytest
from gevent.event import Event

from amphora.exceptions import AccessRefused, BrokerError, TopologyConflict
from amphora.links.connection import Link
from amphora.options.brokers import BrokerAddress
from amphora.options.settings import LinkSettings
from tests.support.eventually import wait_until
from tests.unit.links.fakes import FakeConnection

REFUSED = amqp.AccessRefused("ACCESS_REFUSED - Login was refused", (0, 0), None)


class IdleConnection(FakeConnection):
    """A connection on which nothing arrives."""

    def __init__(self) -> None:
        self._ended = Event()

    def pump(self) -> None:
        self._ended.wait()

    def wake(self) -> None:
        self._ended.set()

    def abandon(self) -> None:
        """Nothing is to be closed."""

    close = abandon


class Broker:
    """Answers attempts to connect, and to attach, with what it is told in turn; with an error or by letting in.

    Attributes:
        fatal: What the link ended with, if it did.
        attaching: Set when the worker begins to attach.
        let_attach: Cleared to hold it there.
        finished: Set when the link was stopped in good order.
    """

    def __init__(self, *answers: tuple[Exception | None, Exception | None]) -> None:
        self._answers = iter(answers)
        self._at_attach: Exception | None = None
        self.fatal: list[BrokerError] = []
        self.attaching, self.let_attach, self.finished = Event(), Event(), Event()
        self.let_attach.set()

    def establish(self, address: BrokerAddress) -> IdleConnection:
        at_connect, self._at_attach = next(self._answers, (None, None))
        if at_connect is not None:
            raise at_connect
        return IdleConnection()

    def attach(self, connection: Any) -> None:
        self.attaching.set()
        self.let_attach.wait(30)
        if self._at_attach is not None:
            raise self._at_attach

    def finish(self) -> None:
        self.finished.set()

    def work(self) -> None:
        """Nothing is to be done."""

    detach = work


@pytest.fixture
def links() -> Iterator[list[Link]]:
    made: list[Link] = []
    yield made
    for link in made:
        link.stop(5)


def connect(links: list[Link], broker: Broker, monkeypatch: pytest.MonkeyPatch) -> Link:
    """Start a link to a broker, and wait until it is connected, ended or held."""
    settings = LinkSettings((BrokerAddress("amqp", "localhost", 5672, "guest"),), reconnect_delay=0.001)
    link = Link("test", settings, broker, on_fatal=broker.fatal.append)
    monkeypatch.setattr(link, "_establish", broker.establish)
    links.append(link)
    link.start()
    wait_until(lambda: broker.fatal or link.connected or not broker.let_attach.is_set())
    return link


@pytest.mark.expects_errors("refuses access")
def test_a_refusal_of_the_first_connection_ends_it(links: list[Link], monkeypatch: pytest.MonkeyPatch) -> None:
    broker = Broker((REFUSED, None))

    connect(links, broker, monkeypatch)

    assert [type(error) for error in broker.fatal] == [AccessRefused]


@pytest.mark.expects_errors("with other properties than Amphora declares")
def test_a_refusal_while_the_first_one_is_attached_ends_it(links: list[Link], monkeypatch: pytest.MonkeyPatch) -> None:
    conflict = amqp.PreconditionFailed("inequivalent arg 'durable'", (50, 10), None)
    broker = Broker((None, OSError("cut")), (None, conflict))

    connect(links, broker, monkeypatch)

    assert [type(error) for error in broker.fatal] == [TopologyConflict]


def test_what_was_let_in_once_waits_when_it_is_refused_later_even_if_it_broke_before_it_was_attached(
    links: list[Link], monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = Broker((None, OSError("cut")), (REFUSED, None), (REFUSED, None))

    link = connect(links, broker, monkeypatch)

    assert link.connected
    assert broker.fatal == []


def test_a_link_that_is_stopped_while_it_attaches_ends_in_good_order(
    links: list[Link], monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = Broker()
    broker.let_attach.clear()
    link = connect(links, broker, monkeypatch)
    assert broker.attaching.wait(10)

    stopping = gevent.spawn(link.stop, 10)
    gevent.sleep(0)
    broker.let_attach.set()
    stopping.join(20)

    # What was worked on meanwhile is acknowledged with that.
    assert broker.finished.is_set()
