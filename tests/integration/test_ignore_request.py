"""`IgnoreRequest` of a direct server over RabbitMQ: the request goes to another server, or comes back slowly."""

from time import monotonic
from typing import Any

import pytest

from amphora import AmqpRpcClient, IgnoreRequest, NoResult
from tests.integration.conftest import NewServer
from tests.support.broker import Broker
from tests.support.eventually import wait_until


class IgnoringAtFirst:
    """A remote function that ignores its first calls, and notes when each came."""

    __name__ = "work"

    def __init__(self, times: float) -> None:
        self.times = times
        self.began: list[float] = []

    def __call__(self) -> str:
        self.began.append(monotonic())
        if len(self.began) <= self.times:
            raise IgnoreRequest
        return "done"

    @property
    def gaps(self) -> list[float]:
        return [later - earlier for earlier, later in zip(self.began, self.began[1:], strict=False)]


def test_an_ignored_request_is_given_to_another_server(new_server: NewServer, client: AmqpRpcClient) -> None:
    unwilling = IgnoringAtFirst(float("inf"))
    new_server(unwilling, connected=True)
    new_server(connected=True).add_function(lambda: "done by another", name="work")

    assert [client.call.work() for _ in range(5)] == ["done by another"] * 5


def test_an_ignored_request_waits_for_a_server_that_wants_it(new_server: NewServer, client: AmqpRpcClient) -> None:
    unwilling = IgnoringAtFirst(float("inf"))
    new_server(unwilling, connected=True, ignore_delay=0.2)
    result = client.defer.work()
    wait_until(lambda: len(unwilling.began) == 2)

    new_server().add_function(lambda: "done by another", name="work")

    assert result.get(timeout=20) == "done by another"


def test_with_one_server_a_request_comes_back_a_second_later_after_the_first_time(
    new_server: NewServer, client: AmqpRpcClient
) -> None:
    work = IgnoringAtFirst(3)
    new_server(work)

    assert client.call.work() == "done"

    assert len(work.began) == 4
    # At once the first time: another server may want it.
    assert min(work.gaps[1:]) > 0.9


def test_the_second_can_be_set(new_server: NewServer, client: AmqpRpcClient) -> None:
    work = IgnoringAtFirst(5)
    new_server(work, ignore_delay=0.1)

    assert client.call.work() == "done"

    assert len(work.began) == 6
    assert min(work.gaps[1:]) > 0.09


def test_an_ignored_request_does_not_hold_others_up(new_server: NewServer, client: AmqpRpcClient) -> None:
    unwilling = IgnoringAtFirst(float("inf"))
    new_server(unwilling, connected=True, ignore_delay=60).add_function(lambda: "done", name="other")
    client.defer.work()
    wait_until(lambda: len(unwilling.began) == 2)

    assert [client.call.other() for _ in range(10)] == ["done"] * 10


def test_an_ignored_request_is_not_lost_when_its_server_stops(
    new_server: NewServer, client: AmqpRpcClient, broker: Broker, service: str
) -> None:
    unwilling = IgnoringAtFirst(float("inf"))
    server = new_server(unwilling, connected=True, ignore_delay=60)
    client.defer.work()
    wait_until(lambda: len(unwilling.began) == 2)

    server.stop()

    wait_until(lambda: broker.queues()[f"rpc_{service}_request"].ready == 1)


def test_a_call_that_everybody_ignores_ends_with_no_result(new_server: NewServer, client: AmqpRpcClient) -> None:
    new_server(IgnoringAtFirst(float("inf")))

    with pytest.raises(NoResult):
        client.call(timeout=0.5).work()


def test_ignored_requests_of_a_label_count_for_max_calls_and_go_back(
    new_server: NewServer, client: AmqpRpcClient, broker: Broker, unique_name: Any, service: str
) -> None:
    label = unique_name("user")
    client.create_new_request_queue(label)
    unwilling = IgnoringAtFirst(float("inf"))
    server = new_server(unwilling, connected=True)
    client.defer(routing_key=label).work()

    assert server.receive_from_queue(label, max_calls=1, timeout=20) == 1

    assert len(unwilling.began) == 1
    wait_until(lambda: broker.queues()[f"rpc_{service}_queue_{label}"].ready == 1)
