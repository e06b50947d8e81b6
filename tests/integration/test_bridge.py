"""`ThreadedClient`, the client for programs that gevent has not patched, in such a program."""

import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from gevent.event import Event

from amphora import AmqpRpcClient, AmqpRpcServer, ThreadedClient, current_request, make_client
from tests.support.broker import Broker
from tests.support.eventually import wait_until
from tests.support.processes import Program
from tests.support.proxy import Proxy

Seen = dict[str, Any]

notes: list[str] = []


@pytest.fixture(scope="module")
def seen(broker: Broker) -> Iterator[Seen]:
    """What a program that is not patched saw of a server of this process, and how it ended."""
    service = f"bridge_{uuid4().hex[:8]}"
    proxy = Proxy(broker.port)
    held: defaultdict[str, Event] = defaultdict(Event)
    server = AmqpRpcServer(service, broker_url=broker.url)
    server.add_function(lambda value: value, name="echo")
    server.add_function(lambda value, other: [value, other], name="dotted.name")
    server.add_function(lambda text: {}[text], name="fail")
    server.add_function(lambda name: held[name].wait() and "held", name="hold")
    server.add_function(lambda name: held[name].set(), name="release")
    server.add_function(lambda: dict(current_request().headers), name="headers")  # type: ignore[union-attr]
    server.add_function(lambda: None, name="tuned")
    server.add_function(notes.append, name="note")
    server.add_function(lambda: proxy.cut() or "cut", name="cut")  # type: ignore[func-returns-value]
    with server, Program("tests/integration/unpatched_caller.py", broker.url, proxy.url, service) as program:
        printed = program.wait_for_line(r"^\{.*\}$", timeout=100.0)
        code = program.wait(timeout=60.0)
        yield {**json.loads(printed.group()), "code": code}
    proxy.close()


def test_results_and_errors_are_those_of_any_client(seen: Seen) -> None:
    calls = seen["calls"]

    assert calls["echo"] == [1, "two", None]
    assert calls["dotted"] == [1, 2]
    assert calls["exception"] == ["KeyError", ["no"]]
    assert calls["not encodable"][0] == "TypeError"
    assert calls["unknown option"][1].startswith("unknown option 'timeot'; did you mean 'timeout'?")
    assert calls["connected"] is True
    assert calls["counted"] >= 3
    assert calls["no such method"][0] == "AttributeError"
    assert calls["bound"] == [3, 4]
    assert calls["servers"] == [100]
    assert calls["ready"] is True


def test_a_deferred_result_can_be_waited_for_asked_and_listened_to(seen: Seen) -> None:
    deferred = seen["deferred"]

    assert deferred["before"]["ready"] is deferred["before"]["successful"] is False
    assert deferred["before"]["value"] is deferred["before"]["wait"] is None
    assert deferred["before"]["get"][0] == deferred["before"]["not blocking"][0] == "TimeoutError"
    assert deferred["before"]["repr"] == "<ThreadedResult of 'hold': pending>"
    assert deferred["get"] == "held"
    assert deferred["told"] is True
    assert deferred["after"] == [True, True, "held", None, "<ThreadedResult of 'hold': done>"]
    assert deferred["failed"] == [False, "RemoteException", ["RemoteException", "KeyError: later"]]
    assert deferred["not encodable"][0] == "TypeError"
    assert deferred["many"] == sum(range(200))


def test_threads_share_a_client(seen: Seen) -> None:
    assert seen["threads"] == 8 * 25


def test_the_handler_of_a_signal_ends_a_waiting_call_which_is_forgotten(seen: Seen) -> None:
    assert seen["signal"] == {"raised": "Alarm", "pending": 0, "next": "next"}


def test_a_deadline_of_the_thread_ends_a_waiting_call(seen: Seen) -> None:
    assert seen["deadline"] == "NoResult"


def test_middleware_and_tuning_functions_have_the_context_of_the_caller(seen: Seen) -> None:
    broker = seen["middleware"].pop("broker")
    assert seen["middleware"] == {"headers": "of the caller", "tuned": "Unroutable"}
    assert broker.startswith("amqp://guest@127.0.0.1:")


def test_label_queues_can_be_created_asked_for_and_removed(seen: Seen) -> None:
    assert seen["labels"] == [[1], [None]]


def test_servers_can_be_inspected_and_functions_bound(seen: Seen) -> None:
    assert seen["inspected"] == [1, "bound"]


def test_after_a_fork_the_child_has_a_client_of_its_own(seen: Seen) -> None:
    assert seen["fork"]["child"]["echo"] == "child"
    assert seen["fork"]["child"]["headers"] == "of the caller"
    assert seen["fork"]["same"] is False
    assert seen["fork"]["parent"] == "parent"


def test_stopping_ends_calls_that_wait_and_the_thread_and_the_next_call_connects_again(seen: Seen) -> None:
    assert seen["stop"] == {"raised": "NoResult", "thread": True, "left": 1, "again": None}


def test_a_broken_connection_loses_no_call(seen: Seen) -> None:
    assert seen["cut"] == ["cut", True]


def test_mistakes_are_raised_where_they_are_made(seen: Seen) -> None:
    mistakes = seen["mistakes"]

    assert mistakes["url"] == ["ValueError", "broker_url must begin with amqp://, amqps:// or memory://, not 'http'"]
    assert mistakes["option"] == "TypeError"
    assert mistakes["unroutable"] == "Unroutable"
    assert mistakes["made"] == "ThreadedClient"


def test_what_is_not_sent_yet_leaves_before_the_program_ends(seen: Seen) -> None:
    assert seen["code"] == 0
    wait_until(lambda: notes == ["last words"], timeout=30.0)


def test_a_patched_program_is_told_to_use_the_client_for_patched_programs() -> None:
    with pytest.raises(RuntimeError, match="gevent has patched this program: use AmqpRpcClient"):
        ThreadedClient("bridge", broker_url="memory://")


def test_the_client_of_a_patched_program_is_the_plain_one() -> None:
    client = make_client("bridge", broker_url="memory://")

    assert type(client) is AmqpRpcClient
    client.stop()
