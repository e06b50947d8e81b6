"""What the commands tell of a service over RabbitMQ: call, functions, ping, queues, doctor."""

import ast
import json
import os
import re
import signal
from collections.abc import Callable

import gevent
import pytest
from click.testing import Result
from gevent.event import Event

from amphora import AmqpRpcClient, AmqpRpcFanoutServer, AmqpRpcServer, __version__
from tests.cli.conftest import Invoke, Shop, StartCommand
from tests.support.broker import Broker
from tests.support.eventually import wait_until

#: A machine may be slow, and the one server that is there need not be waited for any longer.
PATIENT = ("--timeout", "30", "--servers", "1")


def rows(result: Result) -> list[list[str]]:
    """Return the words of each line."""
    return [line.split() for line in result.stdout.splitlines()]


def test_call_prints_the_result_as_json(invoke: Invoke, shop: Shop, service: str) -> None:
    assert invoke("call", service, "add", "20", "22").stdout == "42\n"
    assert invoke("call", service, "add", "ü", "--kw", "y=2").exit_code == 1
    assert invoke("call", service, "add", "ü", "--kw", 'y="2"').stdout == '"ü2"\n'
    assert invoke("call", service, "add", "--", "-20", "-22").stdout == "-42\n"
    assert invoke("call", service, "add", "20", "22", "--no-wait").stdout == ""
    assert invoke("call", service, "add", "20", "22", "--cast").stdout == ""
    assert invoke("call", service, "add", "[1]", "[2]", "--serializer", "msgpack").exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["fail"], 1, "ValueError: sold out"),
        (["missing"], 1, "No function missing defined: `amphora functions"),
        (["stok.ship"], 1, "No function stok.ship defined. Did you mean stock.ship?"),
        (["add", "1", "--routing-key", "nobody"], 4, "no queue takes"),
        (["add", "1", "--timeout", "0"], 3, "No result from 'add' within 0 s"),
    ],
)
def test_call_says_how_it_went_wrong(
    invoke: Invoke, shop: Shop, service: str, arguments: list[str], status: int, said: str
) -> None:
    result = invoke("call", service, *arguments)

    assert result.exit_code == status
    assert said in result.stderr
    assert result.stdout == ""


def test_a_service_that_was_never_there_is_not_made_by_asking(invoke: Invoke, service: str, broker: Broker) -> None:
    result = invoke("call", service, "add", "1", "--connect-timeout", "0.5")

    assert result.exit_code == 4
    assert f"service '{service}' was never served" in result.stderr
    assert f"rpc_{service}_request" not in broker.queues()


def test_a_broker_that_is_not_there_and_one_that_refuses_are_status_4(invoke: Invoke, broker: Broker) -> None:
    gone = invoke("call", "math", "add", "--broker", "amqp://me:a-secret@127.0.0.1:1", "--connect-timeout", "0.3")
    refused = invoke("ping", "math", "--broker", broker.url_for(password="a-secret"))

    assert (gone.exit_code, refused.exit_code) == (4, 4)
    assert "Connection refused" in gone.stderr
    assert "wrong user or password" in refused.stderr
    assert "a-secret" not in gone.output + refused.output


def test_functions_are_listed_with_signatures_and_docstrings(invoke: Invoke, shop: Shop, service: str) -> None:
    listed = invoke("functions", service, *PATIENT)
    whole = invoke("functions", service, "a*", *PATIENT)
    as_json = invoke("functions", service, "--json", *PATIENT)

    assert (
        listed.stdout
        == "add(x: Any, y: Any = 1) -> Any\n    Add two numbers.\nfail() -> None\nstock.ship(number: int) -> None\n"
    )
    assert "    They may be of any size.\n" in whole.stdout
    assert [each["name"] for each in json.loads(as_json.stdout)] == ["add", "fail", "stock.ship"]
    assert invoke("functions", service, "nothing", *PATIENT).exit_code == 1


def test_a_stub_is_python_with_a_class_of_the_functions(invoke: Invoke, shop: Shop, service: str) -> None:
    result = invoke("functions", service, "--stub", *PATIENT)

    (described,) = [each for each in ast.parse(result.stdout).body if isinstance(each, ast.ClassDef)][-1:]
    assert "add" in {each.name for each in described.body if isinstance(each, ast.FunctionDef)}


def test_a_service_whose_servers_are_gone_has_no_answer(invoke: Invoke, shop: Shop, service: str) -> None:
    shop.server.stop()

    for command in (["functions", service, "--timeout", "0.2"], ["ping", service, "-c", "1", "-W", "0.2"]):
        result = invoke(*command)
        assert result.exit_code == 3, result.output
        assert "no server of service" in result.stderr


def test_ping_shows_every_round_and_sums_up(invoke: Invoke, shop: Shop, service: str) -> None:
    shown = invoke("ping", service, "-c", "2", "-i", "0.01", *PATIENT)
    as_json = invoke("ping", service, "--json", *PATIENT)

    assert shown.exit_code == 0, shown.output
    assert [row[2] for row in rows(shown) if len(row) > 2 and row[2].startswith("seq=")] == ["seq=1", "seq=2"]
    assert f"--- {service}: 1 server, 2 rounds, 2 answers ---" in shown.stdout
    (server,) = json.loads(as_json.stdout)["servers"]
    assert (server["uuid"], server["pid"], server["answers"]) == (shop.server.uuid, os.getpid(), 1)
    assert server["min"] <= server["avg"] <= server["max"]


def test_queues_are_shown_and_what_is_missing_is_status_1(invoke: Invoke, shop: Shop, service: str) -> None:
    shown = invoke("queues", service)
    missing = invoke("queues", service, "--label", f"{service}_Alice", "--json")

    assert shown.exit_code == 0
    assert rows(shown) == [
        ["QUEUE", "KIND", "MESSAGES", "CONSUMERS"],
        [f"rpc_{service}_request", "requests", "0", "1"],
        [f"rpc_{service}_dead", "dead", "letters", "0", "0"],
    ]
    assert missing.exit_code == 1
    assert json.loads(missing.stdout)[2] == {
        "queue": f"rpc_{service}_queue_{service}_Alice",
        "kind": "label",
        "messages": None,
        "consumers": None,
        "answered": True,
    }
    shop.server.stop()
    assert invoke("queues", service).exit_code == 0


def test_label_queues_are_found_by_the_template_of_the_service(
    invoke: Invoke, shop: Shop, broker: Broker, service: str
) -> None:
    template = "{namespace}.for.{label}"
    with AmqpRpcClient(service, broker_url=broker.url, queue_template=template) as client:
        client.create_new_request_queue("Alice")

    options = ["--label", "Alice", "--queue-template", template]
    shown = invoke("queues", service, *options)
    watched = invoke("top", service, "-n", "1", "-i", "1", "--json", *options)

    assert [f"{service}.for.Alice", "label", "0", "0"] in rows(shown)
    assert f"{service}.for.Alice" in watched.stdout
    assert invoke("queues", service, "--label", "Alice", "--queue-template", "no label").exit_code == 2


def test_a_queue_with_messages_that_nobody_consumes_is_status_1(invoke: Invoke, shop: Shop, service: str) -> None:
    shop.server.stop()
    assert invoke("call", service, "add", "1", "--no-wait").exit_code == 0

    result = invoke("queues", service)

    assert result.exit_code == 1
    assert "no server consumes from" in result.stderr


def test_the_doctor_finds_a_healthy_service_healthy(invoke: Invoke, shop: Shop, service: str) -> None:
    result = invoke("doctor", service, "--json")

    assert result.exit_code == 0, result.output
    levels = {each["check"]: each["level"] for each in json.loads(result.stdout)}
    assert levels.pop("open files", "ok") in ("ok", "warning")
    assert levels.pop("speed", "note") == "note"
    assert levels == dict.fromkeys(
        (
            "versions",
            "patching",
            "connection",
            "broker",
            "heartbeat",
            "queue arguments",
            "queue",
            "servers",
            "clock",
            "round trip",
        ),
        "ok",
    )


def test_the_doctor_says_what_is_wrong_and_how_to_mend_it(
    invoke: Invoke, shop: Shop, service: str, broker: Broker
) -> None:
    shop.bury(17)
    other_type = invoke("doctor", service, "--queue-type", "classic" if broker.release >= (4, 0) else "quorum")
    refused = invoke("doctor", service, "--broker", broker.url_for(password="a-secret"))
    shop.server.stop()
    nobody = invoke("doctor", service)

    assert (other_type.exit_code, nobody.exit_code, refused.exit_code) == (1, 1, 4)
    assert "BAD  queue arguments:" in other_type.stdout
    assert f"-> look at them: `amphora requeue-dead {service} --dry-run`" in other_type.stdout
    assert f"BAD  queue: 'rpc_{service}_request' has no consumer" in nobody.stdout
    assert "BAD  connection:" in refused.stdout
    assert "-> check user and password" in refused.stdout
    assert "a-secret" not in refused.output


def test_the_doctor_notices_a_quorum_queue_that_is_taken_for_a_classic_one(
    invoke: Invoke, broker: Broker, service: str, unique_name: Callable[[str], str]
) -> None:
    vhost = unique_name("quorum")
    broker.ctl("add_vhost", vhost, "--default-queue-type", "quorum")
    broker.ctl("set_permissions", "--vhost", vhost, "guest", ".*", ".*", ".*")
    queue = f"rpc_{service}_request"
    with broker.channel(virtual_host=vhost) as channel:
        channel.queue_declare(queue, durable=True, auto_delete=False)
    with AmqpRpcServer(service, broker_url=broker.url_for(vhost=vhost)) as server:
        assert server.wait_connected(20)

        result = invoke("doctor", service, "--broker", broker.url_for(vhost=vhost))

    assert result.exit_code == 0, result.output
    assert f"queue arguments: {queue!r}: declared by an earlier release" in result.stdout


@pytest.mark.parametrize("queue_type", ["classic", "quorum", "auto"])
def test_the_doctor_says_the_type_of_the_queue_and_what_a_confirm_is_worth(
    invoke: Invoke, broker: Broker, service: str, queue_type: str
) -> None:
    with AmqpRpcServer(service, broker_url=broker.url, queue_type=queue_type) as server:
        assert server.wait_connected(20)

        result = invoke("doctor", service, "--broker", broker.url)

    assert result.exit_code == 0, result.output
    unsynced = broker.release >= (4, 0)
    found = queue_type if queue_type != "auto" else "quorum" if unsynced else "classic"
    assert f"ok   queue arguments: as declared with queue_type='auto': 'rpc_{service}_request' is a {found} queue" in (
        result.stdout
    )
    assert ("durability: RabbitMQ 4 confirms" in result.stdout) is (unsynced and found == "classic")


def test_the_doctor_notices_another_type_than_the_one_that_is_named(
    invoke: Invoke, broker: Broker, service: str
) -> None:
    with AmqpRpcServer(service, broker_url=broker.url, queue_type="classic") as server:
        assert server.wait_connected(20)

        result = invoke("doctor", service, "--broker", broker.url, "--queue-type", "quorum")

    assert result.exit_code == 1, result.output
    assert f"BAD  queue arguments: queue 'rpc_{service}_request' on the broker" in result.stdout
    assert "another queue_type or delivery_limit" in result.stdout


def test_the_doctor_names_a_missing_permission(
    invoke: Invoke, shop: Shop, service: str, broker: Broker, unique_name: Callable[[str], str]
) -> None:
    user = unique_name("limited")
    broker.add_user(user, "a-secret", configure="^$")
    try:
        result = invoke("doctor", service, "--broker", broker.url_for(user=user, password="a-secret"))
    finally:
        broker.delete_user(user)

    assert result.exit_code == 1, result.output
    assert "BAD  permissions:" in result.stdout
    assert "-> docs/security.md#permissions" in result.stdout
    assert "a-secret" not in result.output


def test_a_fanout_service_is_asked_with_fanout(invoke: Invoke, service: str, broker: Broker) -> None:
    server = AmqpRpcFanoutServer(service, broker_url=broker.url)
    server.add_function(lambda: "here", name="where")
    with server:
        assert server.wait_connected(60)
        wait_until(lambda: server.connected)

        called = invoke("call", service, "where", "--fanout")
        pinged = invoke("ping", service, "--fanout", "--json", *PATIENT)

    assert called.stdout == '"here"\n'
    assert [each["version"] for each in json.loads(pinged.stdout)["servers"]] == [__version__]


def test_ctrl_c_ends_ping_with_its_summary(start_command: StartCommand, shop: Shop, service: str) -> None:
    program = start_command("ping", service)
    program.wait_for_line("seq=1", 60)

    program.send_signal(signal.SIGINT)

    # 1 where it was met on its way to a round that nothing came of.
    assert program.wait(60) in (0, 1)
    assert re.search(rf"--- {service}: 1 server, \d+ rounds?, \d+ answers? ---", program.output)
    assert "KeyboardInterrupt" not in program.output


def test_ctrl_c_ends_a_call_with_status_130(
    start_command: StartCommand, shop: Shop, service: str, broker: Broker
) -> None:
    waiting = Event()
    shop.server.add_function(lambda: (waiting.set(), gevent.sleep(600)), name="wait")
    program = start_command("call", service, "wait")
    assert waiting.wait(60)
    # The exit would report a request that is not confirmed. A server may get one before its client gets the confirm.
    wait_until(
        lambda: set(broker.ctl("list_channels", "messages_unconfirmed").split()) <= {"messages_unconfirmed", "0"}
    )

    program.send_signal(signal.SIGINT)

    assert program.wait(60) == 130
    assert program.output.strip() == ""
