"""requeue-dead and purge-dead: dead letters run again, stay, or go, as they are chosen."""

import json

import amqp
import pytest

from tests.cli.conftest import Invoke, Shop, StartCommand
from tests.support.broker import Broker
from tests.support.eventually import wait_until


@pytest.fixture
def shop(shop: Shop) -> Shop:
    """Three dead letters, whose function would run well now."""
    shop.bury(1, 2, 3)
    shop.ignoring = False
    shop.shipped.clear()
    return shop


def left(broker: Broker, service: str) -> int:
    return broker.queues()[f"rpc_{service}_dead"].messages


def test_a_dry_run_shows_them_and_moves_none(invoke: Invoke, shop: Shop, service: str, broker: Broker) -> None:
    requeue = invoke("requeue-dead", service, "--dry-run", "-n", "2")
    purge = invoke("purge-dead", service, "--dry-run", "--json")

    lines = requeue.stdout.splitlines()
    assert [
        f"stock.ship({number})  [delivery_limit, 2 tries" in line for number, line in zip("12", lines, strict=False)
    ] == [True, True]
    assert lines[2:] == ["2 would be given back, 1 left"]
    assert [each["args"] for each in json.loads(purge.stdout)["would_delete"]] == [[1], [2], [3]]
    assert shop.shipped == []
    wait_until(lambda: left(broker, service) == 3)


def test_the_chosen_ones_are_given_back_and_run(invoke: Invoke, shop: Shop, service: str, broker: Broker) -> None:
    given_back = invoke("requeue-dead", service, "--function", "stock.*", "--limit", "2", "--json")

    told = json.loads(given_back.stdout)
    assert ([each["args"] for each in told["given_back"]], told["failed"], told["left"]) == ([[1], [2]], [], 1)
    wait_until(lambda: shop.shipped == [1, 2], 60)
    wait_until(lambda: left(broker, service) == 1)
    others = invoke("requeue-dead", service, "--function", "add")
    assert others.stdout == "0 given back, 1 left\n"
    assert invoke("requeue-dead", service).stdout.splitlines()[-1] == "1 given back, 0 left"
    wait_until(lambda: shop.shipped == [1, 2, 3], 60)


def test_one_that_cannot_be_given_back_stays_and_is_status_1(
    invoke: Invoke, shop: Shop, service: str, broker: Broker
) -> None:
    shop.server.stop()
    broker.delete_queue(f"rpc_{service}_request")

    result = invoke("requeue-dead", service)

    assert result.exit_code == 1
    assert "no queue takes" in result.stderr
    assert result.stdout == "0 given back, 3 left\n"
    wait_until(lambda: left(broker, service) == 3)


def test_a_purge_deletes_what_was_chosen_once_it_is_confirmed(
    invoke: Invoke, shop: Shop, service: str, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_id = json.loads(invoke("purge-dead", service, "--dry-run", "--json").stdout)["would_delete"][1]["id"]
    one = invoke("purge-dead", service, "--id", by_id, "--yes")
    # Somebody sits at the terminal, as far as the command can tell.
    monkeypatch.setattr("amphora.cli.purge_dead.can_be_asked", lambda: True)
    refused = invoke("purge-dead", service, typed="n\n")
    agreed = invoke("purge-dead", service, typed="y\n")

    assert one.stdout.splitlines()[-1] == "1 deleted, 2 left"
    assert refused.exit_code == 2
    assert "Delete all 2 dead letters" in refused.stdout
    assert agreed.stdout.endswith("2 deleted, 0 left\n")
    wait_until(lambda: left(broker, service) == 0)
    assert shop.shipped == []


def test_a_service_without_dead_letters_has_none_to_move(invoke: Invoke, service: str) -> None:
    assert invoke("requeue-dead", service).stdout == "0 given back, 0 left\n"
    assert invoke("purge-dead", service, "--yes").stdout == "0 deleted, 0 left\n"


def test_none_is_lost_when_it_is_killed_in_the_middle(
    start_command: StartCommand, shop: Shop, service: str, broker: Broker, amqp_channel: amqp.Channel
) -> None:
    shop.server.stop()
    request, dead = f"rpc_{service}_request", f"rpc_{service}_dead"
    ids = {str(number) for number in range(300)}
    for number in sorted(ids, key=int):
        message = amqp.Message(b"{}", message_id=number, application_headers={"x-amphora-queue": request})
        amqp_channel.basic_publish(message, routing_key=dead)
    wait_until(lambda: left(broker, service) == 303)
    program = start_command("requeue-dead", service, "--id", *[each for id_ in ids for each in ("--id", id_)][1:])

    program.wait_for_line(f"-> {request}", 60)
    program.kill()

    def nearly_all_in_one() -> bool:
        queues = broker.queues()
        total = queues[request].ready + queues[dead].ready
        # In the worst moment, one is in both.
        assert 303 <= total <= 304, f"{total} in the two queues"
        return True

    wait_until(nearly_all_in_one, 60)
    found = set()
    for queue in (request, dead):
        while (message := amqp_channel.basic_get(queue, no_ack=True)) is not None:
            found.add(message.properties.get("message_id"))
    assert found >= ids
