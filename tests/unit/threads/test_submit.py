"""`HubThread.submit`, in a program that gevent has not patched: every future gets an outcome."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.processes import Program


@pytest.fixture(scope="module")
def seen() -> Iterator[dict[str, Any]]:
    with Program("tests/unit/threads/submitting.py") as program:
        printed = program.wait_for_line(r"^\{.*\}$", timeout=100.0)
        yield {**json.loads(printed.group()), "code": program.wait(timeout=60.0)}


def test_a_future_gets_what_the_function_returns_or_raises(seen: dict[str, Any]) -> None:
    assert seen["results"] == ["submitting", ["KeyError", "'no'"], "quick"]


def test_a_future_can_be_cancelled_before_its_function_begins(seen: dict[str, Any]) -> None:
    assert seen["cancelled_waiting"] == [[True, True, True], "CancelledError", []]


def test_a_future_can_be_cancelled_while_its_function_runs_which_is_interrupted(seen: dict[str, Any]) -> None:
    assert seen["cancelled_running"] == [[True, True, False], "CancelledError", "done", True]


def test_a_stop_ends_every_future(seen: dict[str, Any]) -> None:
    assert seen["stopped"] == [["NoResult", "the client was stopped"]] * 3


def test_a_stop_ends_every_future_though_something_blocks_the_hub(seen: dict[str, Any]) -> None:
    assert seen["blocked"] == ["NoResult", "NoResult"]


def test_what_is_submitted_after_the_end_has_its_outcome_at_once(seen: dict[str, Any]) -> None:
    assert seen["submitted_late"] == ["NoResult", "the client was stopped"]


def test_a_fork_ends_every_future_in_the_child_and_none_in_the_parent(seen: dict[str, Any]) -> None:
    in_child, in_parent = seen["forked"]

    assert in_child == [["NoResult", "the process was forked: its parent gets the result"], "NoResult"]
    assert in_parent == [False, "parent"]


def test_the_program_ends_though_a_future_is_left(seen: dict[str, Any]) -> None:
    assert seen["code"] == 0
