"""The chaos run's judgement, on invented fates: it has to find what went wrong, and to know what was done."""

from pathlib import Path
from typing import Any, cast

import pytest

from chaos.fates import Fate, Run, read_fates
from chaos.faults import Event
from chaos.notes import Note, Notes
from chaos.stage import Incarnation
from chaos.verdict import Judge, Verdict
from tests.support.processes import Program

NO_PROGRAM = cast(Program, None)


def process(name: str, **changes: Any) -> Incarnation:
    return Incarnation(name, NO_PROGRAM, 0.0, **changes)


def fate(*runs: Run, outcome: str = "result", details: str = "", **changes: Any) -> Fate:
    outcomes = [Note(outcome, "r", 12.0, details)] if outcome else []
    return Fate(
        "r", "client1.1", **{"label": "", "sent": 10.0, "confirmed": 10.5, **changes}, outcomes=outcomes, runs=[*runs]
    )


def run(process_name: str = "server1.1", began: float = 11.0, **changes: Any) -> Run:
    return Run(process_name, began, **{"redelivered": False, "ended": began + 0.1, **changes})


def verdict_of(one: Fate, *events: Event, processes: tuple[Incarnation, ...] = ()) -> Verdict:
    known = [process(name) for name in ("client1.1", "server1.1", "server2.1")]
    return Judge(events, [*known, *processes]).judge([one])


def test_a_call_that_was_run_once_and_answered_is_fine() -> None:
    verdict = verdict_of(fate(run()))

    assert verdict.passed
    assert (verdict.calls, verdict.outcomes, verdict.twice) == (1, {"result": 1}, {})


@pytest.mark.parametrize(
    ("outcome", "details"), [("wrong", ""), ("error", "NoResult: no reply"), ("error", "Unroutable: no queue")]
)
def test_a_call_without_its_answer_is_lost(outcome: str, details: str) -> None:
    assert verdict_of(fate(run(), outcome=outcome, details=details)).lost


def test_a_call_without_an_outcome_hangs() -> None:
    assert verdict_of(fate(run(), outcome="")).hung


def test_a_call_with_two_outcomes_is_no_better() -> None:
    one = fate(run())
    one.outcomes *= 2

    assert verdict_of(one).hung


def test_a_call_of_a_killed_client_needs_no_outcome() -> None:
    verdict = verdict_of(fate(run(), outcome=""), processes=(process("client1.1", killed=True, ended=11.5),))

    assert verdict.passed
    assert (verdict.calls, verdict.orphans) == (0, 1)


@pytest.mark.parametrize("runs", [(), (run(ended=None),)])
def test_what_a_killed_client_was_confirmed_has_to_be_run_to_its_end(runs: tuple[Run, ...]) -> None:
    verdict = verdict_of(fate(*runs, outcome=""), processes=(process("client1.1", killed=True, ended=11.5),))

    assert verdict.unrun


def test_what_went_with_a_deleted_queue_is_counted_apart() -> None:
    error = {"outcome": "error", "details": "NoResult: no reply"}
    of_requests = Event("queue deleted", "rpc_chaos_request", 11.0, 11.1)
    of_replies = Event("queue deleted", "rpc_chaos_client1_response", 11.0, 11.1)

    assert verdict_of(fate(**error), of_requests).deleted == {"request": 1}
    assert verdict_of(fate(run(), **error), of_replies).deleted == {"reply": 1}
    assert verdict_of(fate(**error), of_requests).passed


@pytest.mark.parametrize(
    "event",
    [
        Event("queue deleted", "rpc_chaos_request", 9.0, 9.5),
        Event("queue deleted", "rpc_chaos_request", 13.0, 13.5),
        Event("queue deleted", "rpc_chaos_queue_red", 11.0, 11.5),
        Event("queue deleted", "rpc_chaos_client1_response", 11.0, 11.5),
        Event("broker killed", "broker", 11.0, 11.5),
    ],
)
def test_nothing_else_excuses_a_request_that_was_not_run(event: Event) -> None:
    verdict = verdict_of(fate(outcome="error", details="NoResult: no reply"), event)

    assert verdict.lost
    assert verdict.unrun


def test_an_unsent_reply_is_gone_with_its_server_and_its_request_with_the_queue() -> None:
    no_reply = fate(run(), outcome="error", details="NoResult: no reply")
    deleted = Event("queue deleted", "rpc_chaos_request", 11.2, 11.3)
    before = Event("queue deleted", "rpc_chaos_request", 10.6, 10.7)
    dead = process("server1.1", killed=True, ended=11.5)

    verdict = verdict_of(no_reply, deleted, processes=(dead,))

    assert verdict.passed
    assert verdict.deleted == {"unanswered request": 1}
    # A server that lives sends its reply; one that dies leaves the request to others.
    assert verdict_of(no_reply, deleted).lost
    assert verdict_of(no_reply, processes=(dead,)).lost
    assert verdict_of(no_reply, before, processes=(dead,)).lost
    again = fate(run(), run("server2.1", 11.4, redelivered=True), outcome="error", details="NoResult: no reply")
    assert verdict_of(again, deleted, processes=(dead,)).lost


def test_a_second_run_has_its_reason() -> None:
    again = run("server2.1", 13.0, redelivered=True)
    cut = Event("connection cut", "server1", 11.5, 11.6)
    of_client = Event("connection refused", "client1", 11.5, 11.6)
    warm = Event("warm restart", "server1", 11.8, 11.9)
    dead = process("server1.1", killed=True, ended=12.0)

    assert verdict_of(fate(run(), again), cut, warm).twice == {"server: connection cut": 1}
    assert verdict_of(fate(run(), again), warm).twice == {"server: warm restart": 1}
    assert verdict_of(fate(run(ended=None), again), processes=(dead,)).twice == {"server: killed while it ran": 1}
    assert verdict_of(fate(run(), run("server2.1", 13.0)), of_client).twice == {
        "client sent it again: connection refused": 1
    }
    assert verdict_of(fate(run(), again), of_client).twice == {"server: unexplained": 1}


def test_one_process_must_not_run_a_request_twice() -> None:
    assert not verdict_of(fate(run(), run(began=13.0))).passed


def test_fates_are_put_together_from_the_notes_of_all_processes(tmp_path: Path) -> None:
    client, server = process("client1.1"), process("server1.1")
    noted = Notes(tmp_path / "client1.1.notes")
    noted.add("sent", "r", "red")
    noted.add("confirmed", "r")
    noted.add("error", "r", "NoResult: two\nlines")
    noted = Notes(tmp_path / "server1.1.notes")
    noted.add("begin", "r", "redelivered")
    noted.add("end", "r")

    (one,) = read_fates(tmp_path, [client, process("client2.1")], [server])

    assert (one.label, one.outcome, one.finished) == ("red", "NoResult", True)
    assert one.outcomes[0].details == "NoResult: two lines"
    assert [(each.process, each.redelivered) for each in one.runs] == [("server1.1", True)]
