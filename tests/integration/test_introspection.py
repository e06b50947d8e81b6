"""All servers of a service say who they are, what they can do, and what they have done."""

import os
import platform
import time
from collections.abc import Callable
from typing import Any

import amqp
import pytest

import amphora
from amphora import (
    AmqpRpcClient,
    AmqpRpcFanoutClient,
    AmqpRpcFanoutServer,
    CurrentRequest,
    RemoteException,
    WrongRequest,
)
from amphora.logs.note_log import flush_notes
from tests.integration.conftest import NewClient, NewServer
from tests.integration.functions import Holding, Noting
from tests.support.broker import Broker
from tests.support.eventually import wait_until


def add(x: int, y: int = 1) -> int:
    """Add two numbers.

    They may be of any size.
    """
    return x + y


def control_queues(broker: Broker, service: str) -> list[str]:
    return [name for name in broker.queues() if name.startswith(f"rpc_{service}_") and name.endswith("_control")]


@pytest.fixture(params=["direct", "fanout", "memory", "memory-fanout"])
def kinds(request: pytest.FixtureRequest) -> tuple[dict[str, Any], dict[str, Any]]:
    """Give the options of servers and of clients for each kind of service."""
    options = {"broker_url": "memory://"} if request.param.startswith("memory") else {}
    if request.param.endswith("fanout"):
        return {"cls": AmqpRpcFanoutServer, **options}, {"cls": AmqpRpcFanoutClient, **options}
    return options, options


def test_every_server_answers(
    new_server: NewServer, new_client: NewClient, kinds: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    of_server, of_client = kinds
    before = time.time()
    servers = [new_server(add, concurrency=number, connected=True, **of_server) for number in (1, 2, 3)]
    after = time.time()
    client = new_client(**of_client)

    wait_until(lambda: len(client.inspect.ping(20, limit=3)) == 3, 60)
    found = client.inspect.ping(20, limit=3)

    assert {each.uuid: each.concurrency for each in found} == {each.uuid: each.concurrency for each in servers}
    assert {(each.host, each.pid, each.version) for each in found} == {
        (platform.node(), os.getpid(), amphora.__version__)
    }
    assert all(before <= each.started <= after and 0 < each.round_trip < 20 for each in found)
    assert client.stats()["pending"] == 0


def test_every_server_tells_how_long_its_own_functions_ran(
    new_server: NewServer, new_client: NewClient, kinds: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    of_server, of_client = kinds
    server = new_server(add, connected=True, **of_server)
    client = new_client(**of_client)
    wait_until(lambda: client.inspect.ping(20, limit=1), 60)
    for number in range(3):
        client.call.add(number)
    with pytest.raises(RemoteException):
        client.call.add("no number")

    told = client.inspect.run_times(20, limit=1)

    assert told == {server.uuid: server.run_times()}
    assert {name: times.count for name, times in told[server.uuid].items()} == {"add": 4}


def test_functions_are_described_once_with_all_who_have_them(new_server: NewServer, new_client: NewClient) -> None:
    first, second = new_server(add, connected=True), new_server(add, min, connected=True)
    client = new_client()

    wait_until(lambda: len(client.inspect.ping(20, limit=2)) == 2, 60)
    found = client.inspect.functions(20, limit=2)

    assert list(found) == ["add", "min"]
    assert (found["add"].signature, found["add"].module) == ("(x: int, y: int = 1) -> int", __name__)
    assert found["add"].doc == "Add two numbers.\n\nThey may be of any size."
    assert set(found["add"].servers) == {first.uuid, second.uuid}
    assert (found["min"].signature, found["min"].servers) == ("(...)", (second.uuid,))


def test_a_busy_server_answers_too_and_counts_nothing_for_it(
    new_server: NewServer, new_client: NewClient, kinds: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    of_server, of_client = kinds
    holding = Holding()
    server = new_server(holding, concurrency=1, connected=True, **of_server)
    client = new_client(**of_client)
    wait_until(lambda: client.inspect.ping(20, limit=1), 60)
    held = [client.defer.hold(number) for number in range(5)]
    assert holding.began.wait(20)

    [(uuid, stats)] = client.inspect.stats(20, limit=1).items()

    assert (uuid, stats["running"], stats["requests"]) == (server.uuid, 1, 1)
    holding.let_go.set()
    assert [result.get() for result in held] == list(range(5))
    assert server.stats()["requests"] == 5


def test_services_of_one_process_answer_each_for_itself(
    new_server: NewServer, new_client: NewClient, unique_name: Callable[[str], str]
) -> None:
    other = unique_name("other")
    servers = [new_server(add, connected=True), new_server(min, service_name=other, connected=True)]
    clients = [new_client(), new_client(service_name=other)]

    for client, server, function in zip(clients, servers, ("add", "min"), strict=True):
        wait_until(lambda client=client: client.inspect.ping(20, limit=1), 60)  # type: ignore[misc]
        assert [each.uuid for each in client.inspect.ping(0.5)] == [server.uuid]
        assert list(client.inspect.functions(20, limit=1)) == [function]


def test_reserved_functions_can_be_called_like_others_and_nothing_runs_around_them(
    new_server: NewServer, client: AmqpRpcClient
) -> None:
    server = new_server(add)

    @server.add_middleware
    def forbid(request: CurrentRequest, call: Callable[[], Any]) -> Any:
        raise PermissionError

    with pytest.raises(RemoteException, match="PermissionError"):
        client.call.add(1)

    assert client.call.amphora.ping()["uuid"] == server.uuid
    assert client.call.amphora.stats()["stats"]["errors"] == 1
    assert server.functions.keys() == {"add"}
    with pytest.raises(WrongRequest, match=r"No function amphora\.quit defined"):
        client.call.amphora.quit()
    with pytest.raises(ValueError, match=r"'amphora\.ping' is reserved"):
        server.add_function(add, "amphora.ping")


def test_a_server_that_is_told_not_to_answers_nothing(
    new_server: NewServer, client: AmqpRpcClient, broker: Broker, service: str
) -> None:
    server = new_server(add, introspection=False, connected=True)
    server.add_function(add, "amphora.ping")

    assert client.inspect.ping(0.2) == []
    assert client.call.amphora.ping(1, 2) == 3
    assert control_queues(broker, service) == []


def test_without_a_server_nobody_answers_and_nothing_is_left(client: AmqpRpcClient) -> None:
    assert client.inspect.ping(30) == []

    assert client.inspect.stats(30) == {}
    assert (client.stats()["pending"], client.stats()["outbox"]) == (0, 0)


def test_the_queue_goes_with_its_server(
    new_server: NewServer, client: AmqpRpcClient, broker: Broker, service: str
) -> None:
    server = new_server(add)
    assert len(wait_until(lambda: client.inspect.ping(20, limit=1), 60)) == 1
    assert control_queues(broker, service) == [f"rpc_{service}_{server.uuid}_control"]

    server.stop()

    assert control_queues(broker, service) == []


def test_the_queue_is_made_again_when_it_was_deleted(
    new_server: NewServer, client: AmqpRpcClient, amqp_channel: amqp.Channel, service: str
) -> None:
    server = new_server(add)
    wait_until(lambda: client.inspect.ping(20, limit=1), 60)

    amqp_channel.queue_delete(f"rpc_{service}_{server.uuid}_control")

    wait_until(lambda: client.inspect.ping(20, limit=1), 60)


@pytest.mark.parametrize(
    ("configure", "read"),
    [
        ("^rpc_{service}_(request|response)$", ".*"),
        (".*", "^rpc_{service}_(request|response)$"),
    ],
)
def test_a_server_without_the_permission_does_without_it(
    new_server: NewServer,
    client: AmqpRpcClient,
    broker: Broker,
    service: str,
    unique_name: Callable[[str], str],
    configure: str,
    read: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "amphora")
    user = unique_name("user")
    broker.add_user(
        user, "secret", configure=configure.format(service=service), write=".*", read=read.format(service=service)
    )

    server = new_server(add, broker_url=broker.url_for(user=user, password="secret"))

    assert client.call.add(1) == 2
    assert client.call.amphora.ping()["uuid"] == server.uuid
    wait_until(lambda: [each for each in caplog.messages if "doing without queue" in each], 20)
    assert client.call.add(1) == 2
    assert len([each for each in caplog.messages if "doing without queue" in each]) == 1
    assert server.stats()["reconnects"] == 0
    server.stop()
    broker.delete_user(user)


def test_the_documented_permissions_are_enough(
    new_server: NewServer, client: AmqpRpcClient, broker: Broker, service: str, unique_name: Callable[[str], str]
) -> None:
    user = unique_name("user")
    own = f"^rpc_{service}_(request|response|.*_control)$"
    write = f"^rpc_{service}_(request|response|.*_response|.*_control)$"
    broker.add_user(user, "secret", configure=own, write=write, read=own)

    server = new_server(add, broker_url=broker.url_for(user=user, password="secret"))

    wait_until(lambda: [each.uuid for each in client.inspect.ping(20, limit=1)] == [server.uuid], 60)
    server.stop()
    broker.delete_user(user)


def test_signed_services_ask_and_answer_with_signatures(
    new_server: NewServer, new_client: NewClient, caplog: pytest.LogCaptureFixture
) -> None:
    keys = ["a key of sixteen bytes"]
    server = new_server(add, signing_keys=keys, connected=True)
    knowing, stranger = new_client(signing_keys=keys), new_client()

    wait_until(lambda: [each.uuid for each in knowing.inspect.ping(20, limit=1)] == [server.uuid], 60)

    # An answer takes some milliseconds; there is none to wait for.
    assert stranger.inspect.ping(1) == []
    assert stranger.inspect.functions(1) == {}


def test_other_functions_do_not_run_for_all_servers(new_server: NewServer, client: AmqpRpcClient) -> None:
    noting = Noting()
    new_server(noting)
    wait_until(lambda: client.inspect.ping(20, limit=1), 60)

    with pytest.raises(WrongRequest, match="No function note defined"):
        client.call(routing_key="amphora.control").note()

    assert noting.runs == []


def test_a_flood_of_questions_does_not_slow_the_service(
    new_server: NewServer,
    new_client: NewClient,
    service: str,
    amqp_channel: amqp.Channel,
    caplog: pytest.LogCaptureFixture,
) -> None:
    functions = {f"function_{number}": lambda x: x for number in range(200)}
    for each in functions.values():
        each.__doc__ = "What it does, in some words. " * 20
    server = new_server()
    for name, each in functions.items():
        server.add_function(each, name)
    client = new_client(timeout=60)
    assert client.call.function_1(1) == 1
    question = amqp.Message(
        '{"func": "amphora.functions", "args": [], "kwargs": {}}',
        content_type="application/json",
        message_id="1",
        reply_to="flood",
    )
    amqp_channel.queue_declare("", exclusive=True, arguments={"x-max-length": 1})
    amqp_channel.queue_bind("", f"rpc_{service}_response", "flood")

    for _ in range(3000):
        amqp_channel.basic_publish(question, f"rpc_{service}_request", "amphora.control")
    took = []
    for number in range(30):
        began = time.monotonic()
        assert client.call.function_2(number) == number
        took.append(time.monotonic() - began)

    # Without a limit of questions, half of the calls take more than a second each.
    assert sorted(took)[len(took) // 4] < 0.5
    wait_until(lambda: flush_notes(1) and "leaving some out" in caplog.text, 60)
