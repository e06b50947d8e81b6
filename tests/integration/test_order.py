"""Requests keep their order when the broker refuses some of them, and when the connection is lost meanwhile."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from gevent.event import AsyncResult

from amphora import Unroutable
from amphora.core.messages import OutgoingMessage
from tests.integration.conftest import NewClient, NewServer
from tests.integration.functions import Noting
from tests.support.broker import Broker
from tests.support.eventually import wait_until
from tests.support.proxy import Proxy

REQUESTS = 30


def leader(queue: str) -> str:
    """Return the Erlang term of the process that leads a quorum queue of a single node."""
    return f'{{binary_to_atom(<<"%2F_{queue}">>, utf8), node()}}'


@pytest.mark.parametrize("cut", [False, True])
def test_requests_that_a_quorum_queue_without_a_leader_refuses_run_in_their_order(
    broker: Broker,
    service: str,
    cut: bool,
    new_client: NewClient,
    new_server: NewServer,
    note: Noting,
    start_proxy: Callable[[Broker], Proxy],
) -> None:
    queue, proxy = f"rpc_{service}_request", start_proxy(broker)
    client = new_client(queue_type="quorum", broker_url=proxy.url)
    assert client.wait_connected(20)
    outbox = client._publisher._outbox
    broker.eval(f"ra:stop_server(quorum_queues, {leader(queue)})")
    results = [client.defer(wait_publish=False).note(0)]
    wait_until(lambda: outbox._places.lanes.held, message="the first request is refused")
    results += [client.defer(wait_publish=False).note(number) for number in range(1, REQUESTS)]
    if cut:
        proxy.cut()
        wait_until(lambda: not client.connected)
        assert len(client._publisher) == REQUESTS
    broker.eval(f"ra:restart_server(quorum_queues, {leader(queue)})")
    wait_until(lambda: len(client._publisher) == 0, timeout=60, message="all are confirmed")

    new_server(note, connected=True, queue_type="quorum", concurrency=1)

    for result in results:
        result.get(timeout=60)
    assert note.runs == list(range(REQUESTS))


def test_two_messages_with_one_id_that_no_queue_takes_are_both_unroutable(service: str, new_client: NewClient) -> None:
    client = new_client()
    assert client.wait_connected(20)
    outcomes: list[AsyncResult[Exception | None]] = []
    for key in ("nowhere", "nowhere", "", "nowhere"):
        outcome: AsyncResult[Exception | None] = AsyncResult()
        outcomes.append(outcome)

        def done(_: OutgoingMessage, error: Exception | None, outcome: AsyncResult[Exception | None] = outcome) -> None:
            outcome.set(error)

        client._publisher.publish_now(OutgoingMessage(f"rpc_{service}_request", key, {"message_id": "one"}, b"", done))

    kinds = [type(outcome.get(timeout=20)) for outcome in outcomes]

    assert kinds == [Unroutable, Unroutable, type(None), Unroutable]
