"""One odd answer spoils no question to all servers: it is left out, and named."""

import logging
from math import inf, nan
from typing import Any

import pytest

from amphora import AmqpRpcClient
from amphora.logs.note_log import flush_notes
from tests.support.broker import Broker
from tests.support.hostile_server import HOSTILE, HostileServer, healthy, is_clean

#: An answer, and what is said to be wrong with it in answers to which questions.
ODD: list[tuple[dict[str, Any], str, str]] = [
    ({"pid": inf}, "ping health", "pid is inf, and not a whole number"),
    ({"pid": "1"}, "ping health", "pid is a str, and not a whole number"),
    ({"pid": True}, "ping health", "pid is True, and not a whole number"),
    ({"pid": 10**1000}, "ping health", "pid is an int, and not a whole number"),
    ({"pid": -1}, "ping health", "pid is -1, and not a whole number"),
    ({"host": None}, "ping health", "host is missing, and not a text"),
    ({"host": "x" * 200_000}, "ping health", "host is a str, and not a text"),
    ({"started": nan}, "ping", "started is nan, and not a finite number"),
    ({"started": 10**400}, "ping", "started is an int, and not a finite number"),
    ({"now": nan}, "ping", "now is nan, and not a finite number"),
    ({"concurrency": 1.5}, "ping", "concurrency is 1.5, and not a whole number"),
    ({"version": ["1"]}, "ping", "version is a list, and not a text"),
    ({"functions": {}}, "functions", "functions is not a list"),
    ({"functions": ["add"]}, "functions", "a function is not a mapping"),
    ({"functions": [{"name": 1}]}, "functions", "name is 1, and not a text"),
    ({"stats": []}, "stats", "stats is not a mapping"),
    ({"stats": {"requests": nan}}, "stats", "requests is nan, and not a whole number"),
    ({"run_times": []}, "run_times", "run_times is not a mapping"),
    ({"run_times": {"add": {"total": inf, "buckets": []}}}, "run_times", "total is inf"),
    ({"run_times": {"add": {"total": 1, "buckets": [[nan, 1]]}}}, "run_times", "bound is nan"),
    ({"run_times": {"add": {"total": 1, "buckets": [[1]]}}}, "run_times", "a bucket is not a pair"),
    ({"run_times": {"add": {"total": 1, "buckets": [[1, inf]]}}}, "run_times", "number is inf"),
    ({"loop_lag": inf}, "health", "loop_lag is inf, and not a finite number"),
    ({"connected": "no"}, "health", "connected is a str, and neither true nor false"),
]


@pytest.mark.parametrize(("changed", "questions", "said"), ODD, ids=[said for *_, said in ODD])
def test_an_odd_answer_is_left_out_and_named_and_counts_for_no_limit(
    changed: dict[str, Any], questions: str, said: str, broker: Broker, service: str, caplog: pytest.LogCaptureFixture
) -> None:
    answers = [healthy("odd", **changed), healthy("fine")]

    with (
        HostileServer(broker, service, lambda _: answers),
        AmqpRpcClient(service, broker_url=broker.url, declare=False) as client,
    ):
        for question in questions.split():
            found = getattr(client.inspect, question)(timeout=60, limit=1)

            assert [each if isinstance(each, str) else getattr(each, "uuid", None) for each in found] in (
                ["fine"],
                ["add"],
            )
            assert said in client.inspect.left_out["odd"]

    assert flush_notes(60)
    assert "an answer of 'odd' to" in caplog.text


@pytest.mark.parametrize("value", [None, [], "text", 1, {"uuid": HOSTILE}, {"uuid": {"a": 1}}])
def test_an_answer_of_another_kind_is_left_out(
    value: Any, broker: Broker, service: str, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        HostileServer(broker, service, lambda _: [value, healthy("fine")]),
        AmqpRpcClient(service, broker_url=broker.url, declare=False) as client,
    ):
        assert [each.uuid for each in client.inspect.ping(timeout=60, limit=1)] == ["fine"]
        assert len(client.inspect.left_out) == 1

    assert flush_notes(60)
    assert all(is_clean(each, lines=False) for each in caplog.messages)


def test_an_error_of_the_function_that_counts_answers_is_raised_and_breaks_no_connection(
    broker: Broker, service: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    def count(server: Any) -> bool:
        raise LookupError(server.uuid)

    with (
        HostileServer(broker, service, lambda _: [healthy()]),
        AmqpRpcClient(service, broker_url=broker.url, declare=False) as client,
    ):
        with pytest.raises(LookupError, match="healthy"):
            client.inspect.health(timeout=1, limit=1, counts=count)
        assert client.inspect.ping(timeout=60, limit=1)

    assert flush_notes(60)
    assert "connecting anew" not in caplog.text


def test_a_server_whose_clock_is_hours_off_answers_all_questions(broker: Broker, service: str) -> None:
    asked: list[Any] = []

    def answers(request: Any) -> list[Any]:
        asked.append(request)
        base = healthy()
        return [{**base, "uuid": "ahead", "now": base["now"] + 7200}, {**base, "uuid": "behind", "now": 5.0}]

    with (
        HostileServer(broker, service, answers),
        AmqpRpcClient(service, broker_url=broker.url, declare=False) as client,
    ):
        found = client.inspect.ping(timeout=60, limit=2)

        assert [each.uuid for each in found] == ["ahead", "behind"]
        assert client.inspect.clocks["ahead"].ahead == pytest.approx(7200, abs=60)
        assert client.inspect.clocks["behind"].ahead < -1e9
