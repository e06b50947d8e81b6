"""`client.defer` over RabbitMQ: what it returns, when it returns, and what its result brings."""

from typing import Any

import amqp
import gevent
import pytest
from gevent.event import AsyncResult, Event

from amphora import AmqpRpcClient, NoResult, RemoteException, Unroutable, WrongRequest
from tests.integration.conftest import NewClient, NewServer
from tests.support.broker import Broker
from tests.support.eventually import wait_until


def add(x: Any, y: Any) -> Any:
    return x + y


def fail() -> None:
    raise ValueError("x", -5)


def test_defer_returns_an_async_result_before_the_function_has_ended(
    new_server: NewServer, client: AmqpRpcClient
) -> None:
    release = Event()

    def wait() -> str:
        release.wait(20)
        return "done"

    new_server(wait)

    result = client.defer.wait()

    assert isinstance(result, AsyncResult)
    assert not result.ready()
    release.set()
    assert result.get(timeout=20) == "done"


def test_deferred_calls_run_at_the_same_time(new_server: NewServer, client: AmqpRpcClient) -> None:
    running: list[str] = []
    everyone_runs = Event()

    def check_is_down(site: str) -> str:
        running.append(site)
        if len(running) == 4:
            everyone_runs.set()
        assert everyone_runs.wait(20)
        return f"Site {site} is up"

    new_server(check_is_down)
    sites = ["http://google.com", "http://yandex.com", "http://example.com", "http://thereisnosuchsitename.com"]

    results = [client.defer.check_is_down(site) for site in sites]

    assert [result.get(timeout=30) for result in results] == [f"Site {site} is up" for site in sites]


def test_when_defer_returns_the_broker_has_the_request(
    amqp_channel: amqp.Channel, service: str, client: AmqpRpcClient
) -> None:
    client.defer.add(1, 2)

    assert amqp_channel.basic_get(f"rpc_{service}_request", no_ack=True) is not None


def test_without_wait_publish_defer_returns_before_there_is_a_connection(
    new_server: NewServer, new_client: NewClient
) -> None:
    client = new_client(autostart=False)

    result = client.defer(wait_publish=False).add(1, 2)

    assert client.stats()["outbox"] == 1
    client.serve()
    new_server(add)
    assert result.get(timeout=20) == 3


def test_with_wait_publish_defer_gives_up_after_the_timeout_and_says_that_nothing_was_sent(
    new_client: NewClient,
) -> None:
    client = new_client(autostart=False)

    with pytest.raises(NoResult, match=r"within 0\.2 s\. The request was not sent .*stopped"):
        client.defer(timeout=0.2).add(1, 2)


def test_a_caller_that_gives_up_while_it_defers_leaves_nothing_pending(new_client: NewClient) -> None:
    client = new_client(autostart=False, timeout=None)

    with pytest.raises(gevent.Timeout), gevent.Timeout(0.01):
        client.defer.add(1, 2)

    assert client.stats()["pending"] == 0


def test_a_remote_exception_comes_out_of_get(new_server: NewServer, client: AmqpRpcClient) -> None:
    new_server(fail)

    result = client.defer.fail()

    with pytest.raises(RemoteException, match=r"^ValueError: ") as caught:
        result.get(timeout=20)
    assert caught.value.args == ("x", -5)


def test_an_unknown_function_comes_out_of_get(new_server: NewServer, client: AmqpRpcClient) -> None:
    new_server(add)

    result = client.defer.substract(1, 2)

    with pytest.raises(WrongRequest, match="No function substract defined"):
        result.get(timeout=20)


def test_a_result_that_does_not_come_in_time_is_no_result(client: AmqpRpcClient) -> None:
    client.wait_connected(20)

    result = client.defer(timeout=1).add(1, 2)

    with pytest.raises(NoResult, match=r"'add' within 1 s\. The broker confirmed the request, but no reply arrived"):
        result.get(timeout=20)


def test_a_result_can_be_asked_for_again_and_by_many(new_server: NewServer, client: AmqpRpcClient) -> None:
    new_server(add)

    result = client.defer.add(1, 2)

    waiters = [gevent.spawn(result.get, timeout=20) for _ in range(3)]
    assert [waiter.get() for waiter in waiters] == [3, 3, 3]


def test_nobody_has_to_ask_for_the_result(new_server: NewServer, client: AmqpRpcClient) -> None:
    runs: list[int] = []
    new_server(runs.append)

    client.defer.append(1)

    wait_until(lambda: runs == [1])
    wait_until(lambda: client.stats()["pending"] == 0)


def test_a_part_of_a_dotted_name_can_be_kept_and_shared(new_server: NewServer, client: AmqpRpcClient) -> None:
    server = new_server()
    server.add_function(lambda to, text: f"{text} to {to} as text", name="send_message.email.text")
    server.add_function(lambda to, text: f"{text} to {to} as html", name="send_message.email.html")

    email_sender = client.defer.send_message.email
    first = email_sender.text("root@example.com", "Message")
    second = email_sender.html("user@example.com", "Message")

    assert first.get(timeout=20) == "Message to root@example.com as text"
    assert second.get(timeout=20) == "Message to user@example.com as html"


def test_function_name_names_the_function_as_text(new_server: NewServer, client: AmqpRpcClient) -> None:
    server = new_server()
    for kind in ("html", "text"):
        server.add_function(lambda to, kind=kind: f"{kind} to {to}", name=f"send_message.email.{kind}")

    results = [client.defer(function_name=f"send_message.email.{kind}")("root") for kind in ("html", "text")]

    assert [result.get(timeout=20) for result in results] == ["html to root", "text to root"]


def test_an_unroutable_request_is_raised_by_defer_itself(client: AmqpRpcClient) -> None:
    with pytest.raises(Unroutable, match="routing key 'nobody'"):
        client.defer(routing_key="nobody").add(1, 2)


def test_an_unroutable_request_comes_out_of_get_without_wait_publish(client: AmqpRpcClient) -> None:
    result = client.defer(routing_key="nobody", wait_publish=False).add(1, 2)

    with pytest.raises(Unroutable, match="routing key 'nobody'"):
        result.get(timeout=20)


def test_the_options_of_one_caller_do_not_reach_another(new_server: NewServer, client: AmqpRpcClient) -> None:
    new_server(add)

    tuned = client.defer(routing_key="nobody")

    assert client.defer.add(1, 2).get(timeout=20) == 3
    with pytest.raises(Unroutable):
        tuned.add(1, 2)


def test_thousands_of_deferred_requests_all_arrive(broker: Broker, service: str, new_client: NewClient) -> None:
    client = new_client(timeout=60)

    for number in range(3000):
        client.defer(wait_publish=False).add(number, 0)

    wait_until(lambda: client.stats()["outbox"] == 0, timeout=60)
    assert broker.queues()[f"rpc_{service}_request"].ready == 3000
