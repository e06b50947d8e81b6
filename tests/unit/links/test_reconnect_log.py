"""What an operator reads of a broker that is away: a handful of lines, whatever the number of attempts."""

import logging
from collections.abc import Callable

import pytest

from amphora.exceptions import AccessRefused, BrokerUnreachable
from amphora.links.reconnect_log import ReconnectLog
from amphora.options.brokers import BrokerAddress
from tests.support.clock import Clock

BROKER = BrokerAddress("amqp", "localhost", 5672, "guest")
AWAY = BrokerUnreachable("Connection refused")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("amphora.links.reconnect_log.monotonic", clock)
    return clock


@pytest.fixture
def outage(clock: Clock) -> ReconnectLog:
    return ReconnectLog("link")


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """The lines that an operator reads who has set INFO, since the last time."""
    caplog.set_level(logging.INFO)

    def read() -> list[str]:
        shown = [f"{each.levelname} {each.getMessage()}" for each in caplog.records if each.levelno >= logging.INFO]
        assert not any(each.exc_info for each in caplog.records)
        caplog.clear()
        return shown

    return read


def fail(outage: ReconnectLog, clock: Clock, seconds: float, every: float = 0.75) -> None:
    """Let attempts fail for so long."""
    end = clock.now + seconds
    while clock.now < end:
        outage.failed(AWAY)
        clock.now += every


def test_a_restart_is_two_lines(outage: ReconnectLog, clock: Clock, lines: Callable[[], list[str]]) -> None:
    outage.end(BROKER)
    assert lines() == ["INFO link: connected to amqp://guest@localhost:5672//"]
    outage.steady()

    fail(outage, clock, 5.25)
    outage.end(BROKER)

    assert lines() == [
        "WARNING link: Connection refused; connecting again",
        "INFO link: connected to amqp://guest@localhost:5672// again after 5.2 s",
    ]


def test_a_broker_that_is_not_there_yet_is_two_lines(
    outage: ReconnectLog, clock: Clock, lines: Callable[[], list[str]]
) -> None:
    fail(outage, clock, 5.25)
    outage.end(BROKER)

    assert lines() == [
        "WARNING link: Connection refused; trying again",
        "INFO link: connected to amqp://guest@localhost:5672// after 5.2 s",
    ]


def test_a_broker_that_stays_away_is_a_reminder_a_minute(
    outage: ReconnectLog, clock: Clock, lines: Callable[[], list[str]]
) -> None:
    fail(outage, clock, 3600.0)
    outage.end(BROKER)

    first, *reminders, last = lines()
    assert first == "WARNING link: Connection refused; trying again"
    assert reminders[0] == "WARNING link: still not connected after 60 s and 81 attempts: Connection refused"
    assert 58 <= len(reminders) <= 60
    assert last == "INFO link: connected to amqp://guest@localhost:5672// after 3600.0 s"


def test_a_trouble_of_another_kind_is_told_once(
    outage: ReconnectLog, clock: Clock, lines: Callable[[], list[str]]
) -> None:
    for _ in range(5):
        outage.failed(AWAY)
        outage.failed(AccessRefused("wrong password"))

    assert lines() == ["WARNING link: Connection refused; trying again", "WARNING link: wrong password; trying again"]


def test_a_connection_that_breaks_again_and_again_is_a_handful_of_lines(
    outage: ReconnectLog, clock: Clock, lines: Callable[[], list[str]]
) -> None:
    for _ in range(100):
        outage.failed(AWAY)
        outage.end(BROKER)
        clock.now += 0.9

    assert lines() == [
        "WARNING link: Connection refused; trying again",
        "INFO link: connected to amqp://guest@localhost:5672// after 0.0 s",
        "WARNING link: still not connected after 60 s and 68 attempts: Connection refused",
        "INFO link: connected to amqp://guest@localhost:5672// again after 60.3 s",
    ]


def test_one_that_breaks_again_soon_and_stays_away_is_told_after_some_seconds(
    outage: ReconnectLog, clock: Clock, lines: Callable[[], list[str]]
) -> None:
    outage.failed(AWAY)
    outage.end(BROKER)
    lines()

    fail(outage, clock, 20.0)
    outage.end(BROKER)

    assert lines() == [
        "WARNING link: still not connected after 5 s and 9 attempts: Connection refused",
        "INFO link: connected to amqp://guest@localhost:5672// again after 20.2 s",
    ]
