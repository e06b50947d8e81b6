"""Requests between their delivery and their acknowledgement, on a consumer and a publisher that only note."""

import json
from typing import Any

import gevent
import pytest
from gevent.event import Event

from amphora.core.records import Record
from amphora.exceptions import IgnoreRequest, PublishNacked
from amphora.links.topology import delete_queue
from amphora.protocol.dead_letters import identity
from amphora.protocol.signatures import Signatures
from amphora.server.receiver import Receiver
from amphora.server.request_handler import RequestHandler
from amphora.server.served_request import ServedRequest
from tests.support.eventually import wait_until
from tests.unit.server.handled import NAMES, Notes, handler_of


@pytest.fixture
def notes() -> Notes:
    return Notes()


def work(value: Any = "done") -> Any:
    return value


def replied(notes: Notes) -> Any:
    """Wait for a reply, and confirm it."""
    wait_until(lambda: notes.sent)
    return json.loads(notes.decide().body)


def count_of(function: str, message_id: str) -> str:
    """Return the name of the queue that counts the tries of a request."""
    delivery = Notes().delivery(function, message_id=message_id)
    return NAMES.tries_queue(identity(delivery.properties, delivery.body))


def deleted(notes: Notes) -> list[str]:
    """Return the queues that were deleted."""
    return [action.args[0] for action, _ in notes.actions if action.func is delete_queue]


def test_a_request_is_run_replied_to_and_then_acknowledged(notes: Notes) -> None:
    handler = handler_of(notes, work)
    handler.deliver(notes.delivery("work", 1))
    wait_until(lambda: notes.sent)
    assert notes.settled == []

    assert replied(notes) == {"result": 1}

    assert notes.settled == [(1, "ack")]
    assert handler.stats()["running"] == 0
    assert handler.run_times()["work"].count == 1


@pytest.mark.parametrize(
    "error", [KeyError("x"), gevent.Timeout(1), SystemExit(3), gevent.GreenletExit(), KeyboardInterrupt()]
)
def test_whatever_a_function_raises_is_its_reply(notes: Notes, error: BaseException) -> None:
    def fail() -> None:
        raise error

    handler = handler_of(notes, fail, concurrency=1)
    handler.deliver(notes.delivery("fail"))

    assert replied(notes)["exception"]["type"] == type(error).__name__
    assert notes.settled == [(1, "ack")]
    assert handler.stats()["errors"] == 1


@pytest.mark.expects_errors("RuntimeError")
def test_an_error_of_the_servers_own_gives_the_request_back_and_its_slot(notes: Notes) -> None:
    handler = handler_of(notes, work, concurrency=1)

    def fail(*_: Any) -> None:
        raise RuntimeError("a bug")

    handler._replies.encode_result = fail  # type: ignore[assignment]
    handler.deliver(notes.delivery())
    wait_until(lambda: notes.settled == [(1, "give back")])
    del handler._replies.encode_result

    handler.deliver(notes.delivery())

    assert replied(notes) == {"result": "done"}
    assert handler.stats()["running"] == 0


def test_a_killed_worker_gives_its_request_back_and_its_slot(notes: Notes) -> None:
    began, kill = Event(), []

    def hang() -> None:
        kill.append(gevent.getcurrent())
        began.set()
        gevent.sleep(30)

    handler = handler_of(notes, hang, work, concurrency=1)
    handler.deliver(notes.delivery("hang"))
    assert began.wait(10)

    kill[0].kill(block=False)

    assert replied(notes)["exception"]["type"] == "GreenletExit"
    handler.deliver(notes.delivery())
    assert replied(notes) == {"result": "done"}


def test_a_redelivery_keeps_neither_its_body_nor_its_headers(notes: Notes) -> None:
    go_on = Event()

    def hold() -> None:
        go_on.wait()

    handler = handler_of(notes, hold)
    first = notes.delivery("hold", "x" * 1000, message_id="same")
    handler.deliver(first)
    wait_until(lambda: first.body == b"")
    again = notes.delivery("hold", "x" * 1000, message_id="same", headers={"large": "y" * 1000})

    handler.deliver(again)

    assert (again.body, again.properties) == (b"", {})
    go_on.set()
    replied(notes)
    assert notes.settled == [(1, "ack"), (2, "ack")]


def test_large_bodies_of_a_foreign_client_that_differ_in_the_middle_are_different_requests(notes: Notes) -> None:
    handler = handler_of(notes, work, concurrency=2)
    values = ["a" * 9000 + middle + "b" * 9000 for middle in ("1", "2")]

    for value in values:
        handler.deliver(notes.delivery("work", value, message_id="always the same"))

    assert [replied(notes)["result"] for _ in values] == values


def test_an_ignored_request_is_given_back(notes: Notes) -> None:
    def ignore() -> None:
        raise IgnoreRequest

    handler = handler_of(notes, ignore)
    for _ in range(2):
        handler.deliver(notes.delivery("ignore", message_id="m"))
        wait_until(lambda: handler.stats()["running"] == 0)

    assert notes.settled == [(1, "give back"), (2, "give back")]
    assert handler.stats()["ignored"] == 2


@pytest.mark.parametrize("limit", [None, 3])
@pytest.mark.expects_errors("trying again")
def test_what_cannot_be_read_and_has_no_client_is_dropped_or_kept(notes: Notes, limit: int | None) -> None:
    handler = handler_of(notes, limit=limit)
    handler.deliver(notes.delivery(body=b"\xff", reply_to=None))

    if limit is None:
        wait_until(lambda: notes.settled == [(1, "drop")])
    else:
        wait_until(lambda: notes.sent)
        letter = notes.decide(PublishNacked("full"))
        wait_until(lambda: notes.sent)
        assert notes.decide().body == letter.body == b"\xff"
        assert letter.properties["headers"]["x-amphora-reason"] == "unreadable"
        assert notes.settled == [(1, "ack")]
    assert handler.stats()["dropped"] == 1


def test_an_untrusted_request_is_answered_and_not_run(notes: Notes) -> None:
    handler = handler_of(notes, work, signatures=Signatures(["k" * 16], service="math"))

    handler.deliver(notes.delivery())

    assert replied(notes)["exception"]["type"] == "WrongRequest"
    assert notes.settled == [(1, "ack")]
    assert handler.stats()["untrusted"] == 1


def test_an_untrusted_request_is_given_back_by_a_server_that_ends(notes: Notes) -> None:
    handler = handler_of(notes, work, signatures=Signatures(["k" * 16], service="math"))
    handler.accepting = False

    handler.deliver(notes.delivery())

    assert notes.settled == [(1, "give back")]
    assert handler.stats()["running"] == 0


def test_what_has_not_begun_is_given_back_and_what_runs_is_waited_for(notes: Notes) -> None:
    go_on = Event()
    handler = handler_of(notes, go_on.wait, concurrency=1)
    for _ in range(3):
        handler.deliver(notes.delivery("wait"))
    wait_until(lambda: handler.stats()["requests"] == 1)
    handler.accepting = False

    handler.give_back_waiting()

    assert notes.settled == [(2, "give back"), (3, "give back")]
    assert not handler.wait_idle(0.01)
    go_on.set()
    replied(notes)
    assert handler.wait_idle(1)


def test_a_function_that_waits_for_all_others_does_not_wait_for_itself(notes: Notes) -> None:
    handlers: list[RequestHandler] = []

    def stop() -> bool:
        return handlers[0].wait_idle(5)

    handlers.append(handler_of(notes, stop))
    handlers[0].deliver(notes.delivery("stop"))

    assert replied(notes) == {"result": True}


def test_a_lost_request_leaves_room_for_another_in_its_receiver(notes: Notes) -> None:
    handler, receiver = handler_of(notes, work), Receiver("Alice", 1)
    handler.deliver(notes.delivery(), receiver)
    assert receiver.ended.is_set()

    notes.lose_channel()

    wait_until(lambda: not receiver.ended.is_set())
    assert receiver.quiet.is_set()
    assert handler.stats()["requests"] == 0


def test_a_suspect_is_counted_before_it_runs_and_its_count_deleted_after_it(notes: Notes) -> None:
    handler = handler_of(notes, work, limit=3)
    handler.deliver(notes.delivery(redelivered=True))
    assert notes.sent == []
    notes.answer(0)

    wait_until(lambda: notes.sent)
    counted = notes.decide()

    assert counted.routing_key.endswith("_tries")
    assert replied(notes) == {"result": "done"}
    assert len(notes.actions) == 1
    assert notes.settled == [(1, "ack")]


@pytest.mark.parametrize("when", ["running", "replying", "finished"])
def test_a_request_that_is_finished_without_another_try_leaves_no_count_of_another_server(
    notes: Notes, when: str
) -> None:
    go_on = Event()
    handler = handler_of(notes, go_on.wait, limit=3)
    handler.deliver(notes.delivery("wait", message_id="same"))
    wait_until(lambda: handler.stats()["requests"] == 1)
    if when != "running":
        go_on.set()
        wait_until(lambda: notes.sent)
    if when == "finished":
        notes.decide()
    assert notes.actions == []

    # It was delivered to another server meanwhile, which counted a try of it and lost its connection.
    notes.lose_channel()
    handler.deliver(notes.delivery("wait", message_id="same", redelivered=True))
    go_on.set()
    replied(notes)

    assert notes.settled[-1] == (2, "ack")
    assert deleted(notes) == [count_of("wait", "same")]


def test_an_expired_request_leaves_no_count_of_another_server(notes: Notes) -> None:
    handler = handler_of(notes, work, limit=3)

    handler.deliver(notes.delivery(message_id="same", redelivered=True, headers={"x-amphora-deadline": 1}))

    assert notes.settled == [(1, "ack")]
    assert deleted(notes) == [count_of("work", "same")]


def test_an_untrusted_request_deletes_no_count(notes: Notes) -> None:
    handler = handler_of(notes, work, limit=3, signatures=Signatures(["k" * 16], service="math"))

    handler.deliver(notes.delivery(message_id="same", redelivered=True))
    replied(notes)

    assert notes.settled == [(1, "ack")]
    assert notes.actions == []


def test_a_suspect_with_too_many_tries_is_dead_lettered_and_its_client_told(notes: Notes) -> None:
    handler = handler_of(notes, work, limit=3)
    handler.deliver(notes.delivery(redelivered=True))

    notes.answer(2)

    wait_until(lambda: notes.sent)
    letter = notes.decide()
    assert letter.exchange == "rpc_math_dead"
    assert notes.settled == []
    assert replied(notes)["exception"]["type"] == "DeadLettered"
    assert notes.settled == [(1, "ack")]
    assert handler.stats()["dead_lettered"] == 1


def test_suspects_that_wait_for_their_turn_leave_the_slots_to_others(notes: Notes) -> None:
    go_on = Event()
    handler = handler_of(notes, go_on.wait, work, limit=2, concurrency=2)
    for _ in range(5):
        handler.deliver(notes.delivery("wait", redelivered=True))
    while notes.actions:
        notes.answer(0)
    wait_until(lambda: notes.sent)
    notes.decide()
    wait_until(lambda: handler.stats()["requests"] == 1)

    handler.deliver(notes.delivery("work"))

    assert replied(notes) == {"result": "done"}
    assert handler.stats()["requests"] == 2
    go_on.set()


def test_a_finished_request_does_not_keep_its_worker_from_the_next(notes: Notes) -> None:
    greenlets = set()

    def work() -> None:
        greenlets.add(id(gevent.getcurrent()))

    handler = handler_of(notes, work, concurrency=1)
    for _ in range(5):
        handler.deliver(notes.delivery())
        replied(notes)
        gevent.idle()

    (worker,) = handler._pool._greenlets  # type: ignore[attr-defined]
    assert greenlets == {id(worker)}


@pytest.mark.expects_errors("planted")
def test_an_error_while_a_request_begins_gives_it_back_and_its_slot(
    notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = handler_of(notes, work, concurrency=1)
    handler.deliver(notes.delivery("work", 1))
    next(iter(handler._served.records)).perishable = True
    with monkeypatch.context() as patched:
        # As what the handler of a signal raises there.
        patched.setattr(handler._served._ports, "expired", fail_once)
        wait_until(lambda: notes.settled)
    handler.deliver(notes.delivery("work", 2))

    assert replied(notes) == {"result": 2}
    assert notes.settled == [(1, "give back"), (2, "ack")]


def fail_once(_: object) -> bool:
    raise RuntimeError("planted")


def test_a_request_is_found_by_its_client_and_id_as_long_as_it_is_here(notes: Notes) -> None:
    go_on = Event()

    def work() -> None:
        go_on.wait()

    handler = handler_of(notes, work, concurrency=1)
    running, waiting = notes.delivery(), notes.delivery()
    for each in (running, waiting):
        handler.deliver(each)
    wait_until(lambda: handler.stats()["requests"] == 1)
    ids = [each.properties["message_id"] for each in (running, waiting)]
    client = running.properties["reply_to"]

    assert [[job.delivery for job in handler.find(client, each)] for each in ids] == [[running], [waiting]]
    assert handler.find("somebody else", ids[0]) == handler.find(client, "another id") == []
    go_on.set()
    for _ in ids:
        replied(notes)
    wait_until(lambda: not handler.find(client, ids[0]) and not handler.find(client, ids[1]))


def test_requests_run_in_the_pool_that_is_passed_in(notes: Notes) -> None:
    class ByHand:
        """Runs jobs when the test says so."""

        def __init__(self) -> None:
            self.jobs: list[Any] = []

        def attach(self, run: Any) -> None:
            self.run = run

        def submit(self, job: Any) -> None:
            self.jobs.append(job)

        def take_back(self) -> list[Any]:
            return self.jobs

        def dismiss(self) -> None:
            """Nothing is idle."""

    pool = ByHand()
    handler = handler_of(notes, work, pool=pool)
    handler.deliver(notes.delivery("work", 1))
    gevent.idle()
    assert notes.sent == []

    gevent.spawn(pool.run, pool.jobs.pop()).join()

    assert replied(notes) == {"result": 1}


def test_a_served_request_begins_with_what_a_record_begins_with(notes: Notes) -> None:
    delivery = notes.delivery(headers={})
    served = ServedRequest(delivery, None)
    record = Record(delivery, served.key, "client", True, False, None)

    assert {name: getattr(served, name) for name in Record.__slots__} == {
        name: getattr(record, name) for name in Record.__slots__
    }
