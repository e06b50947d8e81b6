"""What becomes of deferred results when a `ThreadedClient` stops: each gets an outcome."""

import json

import pytest

from tests.support.broker import Broker
from tests.support.processes import Program


@pytest.fixture(params=["amqp", "memory"])
def url(request: pytest.FixtureRequest, broker: Broker) -> str:
    return broker.url if request.param == "amqp" else "memory://"


def test_every_deferred_result_gets_an_outcome_when_the_client_stops(url: str, service: str) -> None:
    with Program("tests/integration/stopping_caller.py", url, service) as program:
        seen = json.loads(program.wait_for_line(r"^\{.*\}$", timeout=60.0).group())
        last = program.wait_for_line(r"^at the end: (.*)$", timeout=60.0)[1]
        code = program.wait(timeout=60.0)

    stopped = "NoResult: No result from 'nobody_serves_this': the client was stopped. "
    confirmed = "The broker confirmed the request, but no reply arrived"
    assert seen["outcomes"]["with a timeout"] == stopped + confirmed
    assert seen["outcomes"]["without a timeout"].startswith("NoResult: No result from 'nobody_serves_this': the client")
    assert seen["outcomes"]["not waited for"].startswith(stopped)
    assert seen["told"] == ["NoResult"]
    assert seen["seconds"] < 10
    # A stopped client can be looked at, and stays stopped.
    looks = {"calls": 3, "connected": False, "state": "stopped", "ready": False, "threads": 1}
    assert {name: seen["looks"][name] for name in looks} == looks
    assert seen["looks"]["confirmed"] >= 2
    assert last.startswith("NoResult: No result from 'nobody_serves_this': the client was stopped")
    assert code == 0
