"""Queues about which the broker does not answer: the others are shown."""

import json

import pytest

from amphora import BrokerUnreachable, QueueStatus
from amphora.cli.report import Level
from amphora.cli.service_checks import _queue_findings
from tests.cli.conftest import Invoke, Shop
from tests.support.broker import Broker
from tests.support.silent_queues import silent


@pytest.fixture
def label(shop: Shop, broker: Broker, service: str) -> str:
    """Name of the queue of the label ``Alice``; it is classic on every release."""
    name = f"Alice_{service}"
    with broker.channel() as channel:
        channel.queue_declare(name, durable=True, auto_delete=False, arguments={"x-queue-type": "classic"})
    return name


def test_queues_shows_the_others_and_ends_with_status_1(
    invoke: Invoke, service: str, broker: Broker, label: str
) -> None:
    options = ["--label", "Alice", "--label", "Bob", "--queue-template", "{label}_{namespace}", "--timeout", "2"]
    with silent(broker, label):
        shown = invoke("queues", service, *options)
        told = json.loads(invoke("queues", service, "--json", *options).stdout)

    assert shown.exit_code == 1
    assert f"the broker does not answer about {label} (is the node of the queue down?)" in shown.stderr
    assert f"not there: Bob_{service}" in shown.stderr
    assert "no answer" in shown.stdout
    assert f"rpc_{service}_request" in shown.stdout
    answered = {row["queue"]: row["answered"] for row in told}
    assert answered[label] is False
    assert answered[f"rpc_{service}_request"] is answered[f"Bob_{service}"] is True


def test_top_shows_servers_and_the_other_queues(
    invoke: Invoke, shop: Shop, service: str, broker: Broker, label: str
) -> None:
    options = ["-n", "1", "-i", "3", "--label", "Alice", "--queue-template", "{label}_{namespace}"]
    with silent(broker, label):
        lines = invoke("top", service, "--json", *options).stdout.splitlines()
        shown = invoke("top", service, *options).stdout

    told = json.loads(lines[-1])
    assert told["unanswered_queues"] == [label]
    assert told["queues"][f"rpc_{service}_request"]["consumers"] == 1
    assert [each["uuid"] for each in told["servers"]] == [shop.server.uuid]
    assert "no answer" in shown


def test_the_doctor_names_the_queue() -> None:
    class Client:
        service_name, connected = "shop", True

        def queue_status(self, *labels: str, timeout: float) -> None:
            error = BrokerUnreachable("not answered")
            error.answered, error.unanswered = {"rpc_shop_dead": QueueStatus(2, 0)}, ("rpc_shop_request",)
            raise error

    silent_one, letters = _queue_findings(Client())  # type: ignore[arg-type]

    assert (silent_one.level, letters.check) == (Level.ERROR, "dead letters")
    assert "the broker does not answer about 'rpc_shop_request'" in silent_one.text
