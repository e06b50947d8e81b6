"""Each process makes an object of its own, when it first needs it."""

import os

import pytest

from amphora.endpoint.per_process import PerProcess


def test_nothing_is_made_before_it_is_needed_and_one_thing_afterwards() -> None:
    one = PerProcess(object)

    assert one.made is None
    assert one.get() is one.get() is one.made


def test_what_was_taken_is_made_again() -> None:
    one = PerProcess(object)
    first = one.get()

    assert one.take() is first
    assert (one.made, one.take()) == (None, None)
    assert one.get() is not first


def test_what_cannot_be_used_any_more_is_replaced() -> None:
    unusable: list[object] = []
    one = PerProcess(object, usable=lambda made: made not in unusable)
    unusable.append(one.get())

    assert one.made is None
    assert one.get() not in unusable


def test_what_could_not_be_made_is_tried_again() -> None:
    outcomes = iter([ValueError("not yet"), "made"])

    def make() -> str:
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return str(outcome)

    one = PerProcess(make)
    with pytest.raises(ValueError, match="not yet"):
        one.get()

    assert one.get() == "made"


def test_a_forked_child_makes_its_own_also_where_the_parent_held_the_lock() -> None:
    one = PerProcess(os.getpid)
    assert one.get() == os.getpid()
    with one._lock:
        child = os.fork()
        if child == 0:
            os._exit(0 if one.made is None and one.get() == os.getpid() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert one.made == os.getpid()
