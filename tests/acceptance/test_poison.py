"""Functions that kill their process each time: their requests are given up, all others go on."""

import pytest

from amphora import DeadLettered
from tests.acceptance.conftest import KeepServerRunning, NewClient
from tests.acceptance.runs import Runs
from tests.support.broker import Broker
from tests.support.eventually import wait_until


@pytest.mark.parametrize("queue_type", ["classic", "quorum"])
def test_requests_that_kill_their_server_each_time_are_given_up_and_no_other_is(
    broker: Broker,
    service: str,
    new_client: NewClient,
    keep_server_running: KeepServerRunning,
    runs: Runs,
    queue_type: str,
) -> None:
    client = new_client(broker.url, queue_type=queue_type, delivery_limit=3, timeout=100)
    assert client.wait_connected(20)
    # Among requests that a server takes together with them: behind, before and between.
    others = [client.defer.work(number) for number in range(40)]
    poison = [client.defer.exit_at_once(1001)]
    others += [client.defer.work(number) for number in range(40, 60)]
    poison += [client.defer.kill_itself(1002)]
    others += [client.defer.work(number) for number in range(60, 99)]

    keep_server_running(broker.url, queue_type=queue_type, delivery_limit=3)

    assert [result.get() for result in others] == list(range(99))
    for result in poison:
        with pytest.raises(DeadLettered, match="given up after 3 tries"):
            result.get()
    # The one may have been in the hands of a server that the other one ended, and not been begun there.
    assert all(1 <= runs.begins[number] <= 3 for number in (1001, 1002))
    with broker.channel() as channel:
        # (What a broker tells of a quorum queue otherwise is seconds old.)
        wait_until(lambda: channel.queue_declare(f"rpc_{service}_dead", passive=True).message_count == 2)
        wait_until(lambda: channel.queue_declare(f"rpc_{service}_request", passive=True).message_count == 0)


def test_one_request_that_kills_its_server_is_run_as_often_as_the_limit_says(
    broker: Broker, new_client: NewClient, keep_server_running: KeepServerRunning, runs: Runs
) -> None:
    client = new_client(broker.url, timeout=100)
    keep_server_running(broker.url, delivery_limit=2)

    with pytest.raises(DeadLettered, match="given up after 2 tries"):
        client.call.kill_itself(1)

    assert runs.begins == {1: 2}
    assert client.call.work(2) == 2


def test_requests_that_wait_for_their_last_try_when_a_server_dies_are_not_given_up(
    broker: Broker, new_client: NewClient, keep_server_running: KeepServerRunning
) -> None:
    client = new_client(broker.url, timeout=100)
    # They come in this order: each of the first two is the death of a server that has all the others.
    poison = [client.defer.kill_itself(number) for number in (1, 2)]
    innocent = [client.defer.work(number) for number in range(3, 23)]

    keep_server_running(broker.url, delivery_limit=2)

    assert [result.get() for result in innocent] == list(range(3, 23))
    for result in poison:
        with pytest.raises(DeadLettered):
            result.get()
