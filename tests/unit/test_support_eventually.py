"""Waiting for something to become true."""

from collections import deque

import pytest

from tests.support.eventually import wait_until


def test_the_first_true_answer_is_returned():
    answers = deque([None, 0, "yes"])

    assert wait_until(answers.popleft) == "yes"


def test_failed_assertions_count_as_not_yet():
    answers = deque([1, 2, 3])

    def check() -> bool:
        assert answers.popleft() == 3
        return True

    wait_until(check)


def test_a_failure_says_what_was_waited_for_and_seen():
    with pytest.raises(AssertionError, match=r"the queue to empty: not so within 0.05 s; the last answer was \[\]"):
        wait_until(list, timeout=0.05, message="the queue to empty")
    with pytest.raises(AssertionError, match=r"<lambda> \(.*test_support_eventually.py:\d+\)"):
        wait_until(lambda: False, timeout=0)
