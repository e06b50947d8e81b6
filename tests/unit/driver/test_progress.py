"""The wait for an answer ends when nothing moves, and goes on while anything does."""

from collections.abc import Callable
from time import monotonic

import gevent
import pytest

from amphora.driver.progress import AnswerWatch, Silence

#: Seconds; short, as these tests wait for some of them.
LIMIT = 0.1


class FakeSocket:
    """A socket of which the test says what moves."""

    def __init__(self) -> None:
        self.last_moved = monotonic()
        self.sent = 0
        self.queued = 0
        self.in_the_kernel = 0
        self.arrived = False

    def unsent(self) -> int:
        return self.queued

    def unacknowledged(self) -> int:
        return self.in_the_kernel

    def has_arrived(self) -> bool:
        return self.arrived


@pytest.fixture
def sock() -> FakeSocket:
    return FakeSocket()


def keep_doing(step: Callable[[], None] | None, *, until: float) -> None:
    while monotonic() < until:
        gevent.sleep(LIMIT / 10)
        if step is not None:
            step()


def seconds_until_silence(sock: FakeSocket, step: Callable[[], None] | None = None) -> float:
    """Wait with a watch, doing one step every tenth of its limit; return how long it took until it raised."""
    began = monotonic()
    with pytest.raises(Silence) as caught, AnswerWatch(sock, LIMIT):
        keep_doing(step, until=began + 100 * LIMIT)
    assert caught.value.seconds is not None
    return monotonic() - began


def test_an_answer_is_late_when_nothing_has_moved(sock: FakeSocket) -> None:
    assert seconds_until_silence(sock) >= LIMIT


def test_an_answer_is_not_late_while_bytes_move_until_the_second_limit(sock: FakeSocket) -> None:
    def move() -> None:
        sock.last_moved = monotonic()

    assert seconds_until_silence(sock, move) >= 12 * LIMIT


def test_bytes_that_the_peer_acknowledges_have_moved(sock: FakeSocket) -> None:
    sock.in_the_kernel = 30

    def acknowledge() -> None:
        sock.in_the_kernel = max(0, sock.in_the_kernel - 1)

    assert seconds_until_silence(sock, acknowledge) >= 3.5 * LIMIT


def test_the_second_limit_begins_when_the_question_has_left(sock: FakeSocket) -> None:
    sock.queued = 20

    def send() -> None:
        sock.last_moved = monotonic()
        if sock.queued:
            sock.sent += 1
            sock.queued -= 1

    assert seconds_until_silence(sock, send) >= 13 * LIMIT


def test_what_has_arrived_gets_a_moment_to_be_read_but_only_one(sock: FakeSocket) -> None:
    sock.arrived = True

    assert seconds_until_silence(sock) >= 2 * LIMIT


def test_an_answer_in_time_ends_the_watch(sock: FakeSocket) -> None:
    with AnswerWatch(sock, LIMIT):
        gevent.sleep(0)

    gevent.sleep(2 * LIMIT)


def test_without_a_limit_nothing_is_watched(sock: FakeSocket) -> None:
    with AnswerWatch(sock, None):
        gevent.sleep(2 * LIMIT)
