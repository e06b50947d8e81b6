"""What the commands make of RabbitMQ's management API, as RabbitMQ 3.10 answers."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from gevent.pywsgi import WSGIServer

from tests.cli.conftest import Invoke, Shop

Answers = dict[str, Any]

AUTHORIZATION = "Basic Z3Vlc3Q6Z3Vlc3Q="


def queue(name: str, **others: Any) -> dict[str, Any]:
    return {"name": name, "type": "classic", "state": "running", "messages_ready": 0, "consumers": 1, **others}


@pytest.fixture
def answers(service: str) -> Answers:
    """What the API of a broker answers that has a service with a label, and a queue of another program."""
    own = [f"rpc_{service}_request", f"rpc_{service}_queue_Alice", f"rpc_{service}_1234_control"]
    rates = {"publish_details": {"rate": 2.5}, "deliver_get_details": {"rate": 1.25}}
    return {
        "/api/overview": {"node": "rabbit@web1"},
        "/api/queues/%2F": [
            queue("somebody_else", messages_ready=9),
            queue(f"rpc_{service}_dead", messages_ready=3, consumers=0),
            queue(own[2]),
            queue(own[1], messages_ready=4),
            queue(own[0], messages_unacknowledged=7, message_stats=rates, memory=20_000),
        ],
        f"/api/exchanges/%2F/rpc_{service}_request/bindings/source": [
            {"destination": each, "destination_type": "queue"} for each in own
        ],
    }


@pytest.fixture
def api(answers: Answers) -> Iterator[str]:
    """The address of such an API."""

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        if environ.get("HTTP_AUTHORIZATION") != AUTHORIZATION:
            start_response("401 Unauthorized", [])
            return [b"{}"]
        found = answers.get(environ["RAW_PATH_INFO" if "RAW_PATH_INFO" in environ else "REQUEST_URI"])
        start_response("200 OK" if found is not None else "404 Not Found", [("Date", "Thu, 26 Nov 2020 00:00:00 GMT")])
        return [json.dumps(found).encode()]

    class Handler(WSGIServer.handler_class):
        def get_environ(self) -> dict[str, Any]:
            # The vhost's slash must not be unquoted on the way.
            return {**super().get_environ(), "RAW_PATH_INFO": self.path}

    server = WSGIServer(("127.0.0.1", 0), answer, log=None, handler_class=Handler)
    server.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.stop()


def test_queues_are_found_by_their_bindings(invoke: Invoke, service: str, api: str) -> None:
    shown = invoke("queues", service, "--management", api, "--json")
    everything = invoke("queues", service, "--management", api, "--all")

    assert shown.exit_code == 0, shown.output
    found = json.loads(shown.stdout)
    assert [(each["queue"], each["kind"], each["messages"]) for each in found] == [
        (f"rpc_{service}_request", "requests", 0),
        (f"rpc_{service}_queue_Alice", "label", 4),
        (f"rpc_{service}_dead", "dead letters", 3),
    ]
    assert (found[0]["unacknowledged"], found[0]["incoming"], found[0]["outgoing"]) == (7, 2.5, 1.25)
    assert f"rpc_{service}_1234_control" in everything.stdout
    assert "somebody_else" not in everything.stdout


def test_a_refusal_and_an_address_without_an_api_are_status_4(invoke: Invoke, service: str, api: str) -> None:
    refused = invoke("queues", service, "--management", api.replace("//", "//guest:a-secret@"))
    nobody = invoke("queues", service, "--management", "http://127.0.0.1:1")

    assert (refused.exit_code, nobody.exit_code) == (4, 4)
    assert "401 wrong user or password for 'guest'" in refused.stderr
    assert "a-secret" not in refused.output
    assert "no management API at http://127.0.0.1:1" in nobody.stderr


def test_an_api_without_metrics_is_no_empty_queue(invoke: Invoke, service: str, api: str, answers: Answers) -> None:
    answers["/api/overview"]["disable_stats"] = True
    for each in answers["/api/queues/%2F"]:
        del each["messages_ready"], each["consumers"]

    result = invoke("queues", service, "--management", api)

    assert result.exit_code == 4, result.output
    assert "collection of metrics is disabled" in result.stderr


def test_a_queue_that_was_just_declared_has_no_metrics_yet(
    invoke: Invoke, service: str, api: str, answers: Answers
) -> None:
    for each in answers["/api/queues/%2F"]:
        del each["messages_ready"], each["consumers"]

    assert invoke("queues", service, "--management", api).exit_code == 0


def test_the_doctor_compares_the_broker_s_clock(invoke: Invoke, shop: Shop, service: str, api: str) -> None:
    result = invoke("doctor", "--management", api)

    assert result.exit_code == 0, result.output
    assert f"ok   management: {api}, node rabbit@web1" in result.stdout
    assert "behind this machine's" in result.stdout
    assert "-> run NTP" in result.stdout
