"""The memory of finished requests: what it knows, and when it forgets."""

import pytest

from amphora.core.finished import FinishedRequests, Reply

REPLY = Reply("application/json", b'{"result": 1}')


def memory(*, count: int = 100, size: int = 1_000_000, age: float = 60.0) -> FinishedRequests:
    return FinishedRequests(count=count, size=size, age=age)


def known(finished: FinishedRequests, keys: str, now: float = 0) -> str:
    return "".join(key for key in keys if finished.recall(key, now)[0])


def kept(finished: FinishedRequests, keys: str) -> str:
    return "".join(key for key in keys if finished.recall(key, 0)[1] is not None)


@pytest.mark.parametrize("reply", [REPLY, None])
def test_a_finished_request_is_known_with_its_reply(reply: Reply | None) -> None:
    finished = memory()

    finished.remember("a", reply, 0)

    assert finished.recall("a", 0) == (True, reply)
    assert finished.recall("b", 0) == (False, None)


def test_the_oldest_are_forgotten_when_there_are_too_many() -> None:
    finished = memory(count=2)

    for key in "abc":
        finished.remember(key, REPLY, 0)

    assert known(finished, "abc") == "bc"
    assert len(finished) == 2


def test_a_request_remembered_again_counts_as_new() -> None:
    finished = memory(count=2)

    for key in "abac":
        finished.remember(key, REPLY, 0)

    assert known(finished, "abc") == "ac"


def test_of_replies_that_are_too_large_together_the_oldest_bodies_go_and_their_keys_stay() -> None:
    finished = memory(size=100_000)

    for key in "abcdefghijkl":
        finished.remember(key, Reply("t", bytes(12_000)), 0)

    assert kept(finished, "abcdefghijkl") == "efghijkl"
    assert known(finished, "abcdefghijkl") == "abcdefghijkl"


def test_a_reply_that_is_larger_than_an_eighth_of_the_room_wipes_nothing_and_is_known_without_its_body() -> None:
    finished = memory(size=16 * 1024 * 1024)
    for key in "abc":
        finished.remember(key, REPLY, 0)

    finished.remember("large", Reply("t", bytes(17 * 1024 * 1024)), 0)

    assert finished.recall("large", 0) == (True, None)
    assert kept(finished, "abc") == "abc"


def test_replacing_and_forgetting_give_their_bytes_back() -> None:
    finished = memory(size=100_000, count=3)

    for _ in range(50):
        for key in "abcd":
            finished.remember(key, Reply("t", bytes(12_000)), 0)

    assert finished.size == 3 * 12_100
    finished.check()


def test_an_old_one_is_not_known_any_more() -> None:
    finished = memory(age=60)
    finished.remember("a", REPLY, 0)

    assert known(finished, "a", 60) == "a"
    assert known(finished, "a", 60.1) == ""
    assert (len(finished), finished.size) == (0, 0)


def test_old_ones_leave_when_new_ones_come() -> None:
    finished = memory(age=60)
    for key in "abc":
        finished.remember(key, REPLY, 0)

    finished.remember("d", REPLY, 61)

    assert len(finished) == 1
