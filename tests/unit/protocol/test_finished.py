"""The memory of finished requests: what it knows, and when it forgets."""

import pytest

from amphora.protocol.finished import FinishedRequests, Reply
from tests.support.clock import Clock

REPLY = Reply("application/json", b'{"result": 1}')


@pytest.fixture
def clock() -> Clock:
    return Clock()


def memory(clock: Clock, *, count: int = 100, size: int = 1_000_000, age: float = 60.0) -> FinishedRequests:
    return FinishedRequests(count=count, size=size, age=age, clock=clock)


def test_a_finished_request_is_known_with_its_reply(clock: Clock) -> None:
    finished = memory(clock)

    finished.remember("a", REPLY)

    assert finished.recall("a") == (True, REPLY)


def test_a_request_without_a_reply_is_known_too(clock: Clock) -> None:
    finished = memory(clock)

    finished.remember("a", None)

    assert finished.recall("a") == (True, None)


def test_any_other_request_is_not_known(clock: Clock) -> None:
    finished = memory(clock)
    finished.remember("a", REPLY)

    assert finished.recall("b") == (False, None)


def test_the_oldest_are_forgotten_when_there_are_too_many(clock: Clock) -> None:
    finished = memory(clock, count=2)

    for key in "abc":
        finished.remember(key, REPLY)

    assert [finished.recall(key)[0] for key in "abc"] == [False, True, True]
    assert len(finished) == 2


def test_a_request_remembered_again_counts_as_new(clock: Clock) -> None:
    finished = memory(clock, count=2)

    for key in "abac":
        finished.remember(key, REPLY)

    assert [finished.recall(key)[0] for key in "abc"] == [True, False, True]


def test_the_oldest_are_forgotten_when_they_are_too_large_together(clock: Clock) -> None:
    finished = memory(clock, size=25_000)

    for key in "abc":
        finished.remember(key, Reply("t", bytes(10_000)))

    assert [finished.recall(key)[0] for key in "abc"] == [False, True, True]


def test_a_reply_that_is_too_large_alone_is_not_kept(clock: Clock) -> None:
    finished = memory(clock, size=10_000)

    finished.remember("a", Reply("t", bytes(20_000)))

    assert (finished.recall("a"), len(finished)) == ((False, None), 0)


def test_replacing_and_forgetting_give_their_bytes_back(clock: Clock) -> None:
    finished = memory(clock, size=25_000)

    for _ in range(10):
        finished.remember("a", Reply("t", bytes(10_000)))
    finished.remember("b", Reply("t", bytes(10_000)))

    assert [finished.recall(key)[0] for key in "ab"] == [True, True]


def test_small_replies_are_bounded_by_bytes_too(clock: Clock) -> None:
    finished = memory(clock, count=1_000_000, size=100_000)

    for key in range(10_000):
        finished.remember(key, None)

    assert 0 < len(finished) < 1000


def test_an_old_one_is_not_known_any_more(clock: Clock) -> None:
    finished = memory(clock, age=60)
    finished.remember("a", REPLY)

    clock.now += 60
    assert finished.recall("a")[0]
    clock.now += 0.1
    assert not finished.recall("a")[0]


def test_old_ones_leave_when_new_ones_come(clock: Clock) -> None:
    finished = memory(clock, age=60)
    for key in "abc":
        finished.remember(key, REPLY)

    clock.now += 61
    finished.remember("d", REPLY)

    assert len(finished) == 1
