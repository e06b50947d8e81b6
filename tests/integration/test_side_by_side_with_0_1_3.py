"""Programs of 0.1.3 and of now, side by side on one service: servers and clients are changed while they work."""

import itertools
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import amqp
import gevent
import pytest
from gevent.event import Event

from amphora import AmqpRpcFanoutClient, AmqpRpcFanoutServer, TopologyConflict
from tests.integration.conftest import NewClient, NewServer
from tests.integration.original import OriginalClient, OriginalServer, encode
from tests.support.broker import Broker
from tests.support.eventually import wait_until as wait_for_up_to

# 0.1.3 and programs of others declare classic queues, whatever the release of the broker.
pytestmark = pytest.mark.endpoints(queue_type="classic")

TEMPLATE = "rpc_{namespace}_queue_{label}"
# Long enough for a busy machine.
wait_until = partial(wait_for_up_to, timeout=60)


class RunningOriginal:
    """A server of 0.1.3 at work: no prefetch limit, and a request is acknowledged after its answer.

    Attributes:
        runs: The numbers that it was called with.
    """

    def __init__(self, broker: Broker, service: str, *, kind: str = "direct", label: str | None = None) -> None:
        self.runs: list[int] = []
        self._connection = broker.connect()
        channel = self._connection.channel()
        channel.auto_decode = False
        self._server = OriginalServer(channel, service, kind=kind)
        queue = self._server.request_queue if label is None else f"rpc_{service}_queue_{label}"
        channel.basic_consume(queue, callback=self._answer)
        self._greenlet = gevent.spawn(self._work)

    def die(self) -> None:
        """End as the original does: its sockets are closed, and what it has not acknowledged goes back."""
        self._greenlet.kill()
        self._connection.collect()

    def _work(self) -> None:
        while True:
            with suppress(socket.timeout):
                self._connection.drain_events(timeout=0.2)

    def _answer(self, request: amqp.Message) -> None:
        [number] = json.loads(request.body)["args"]
        self.runs.append(number)
        self._server.answer(request, encode({"result": number + 1}))
        self._server.channel.basic_ack(request.delivery_tag)


class Callers:
    """Clients that call all the time, each in a greenlet: a wrong or missing answer ends the test.

    Attributes:
        answered: How many calls have been answered.
    """

    def __init__(self) -> None:
        self.answered = 0
        self._numbers = itertools.count()
        self._enough = Event()
        self._greenlets: list[gevent.Greenlet] = []

    def add(self, call: Callable[[int], Any]) -> None:
        self._greenlets.append(gevent.spawn(self._call, call))

    def stop(self) -> None:
        """Let the calls that are under way end, and raise what any has raised."""
        self._enough.set()
        for greenlet in self._greenlets:
            greenlet.get(timeout=60)

    def _call(self, call: Callable[[int], Any]) -> None:
        while not self._enough.is_set():
            number = next(self._numbers)
            assert call(number) == number + 1
            self.answered += 1


@pytest.fixture
def callers() -> Iterator[Callers]:
    made = Callers()
    yield made
    made.stop()


@contextmanager
def original_caller(broker: Broker, service: str) -> Iterator[Callable[[int], Any]]:
    """Call as a client of 0.1.3 does, which has a connection of its own and ignores doubled answers."""

    def add_one(number: int) -> Any:
        message_id = client.send(encode({"func": "add_one", "args": [number], "kwargs": {}}))
        while True:
            reply = client.reply()
            if reply.properties["message_id"] == message_id:
                return json.loads(reply.body)["result"]

    with broker.channel() as channel:
        client = OriginalClient(channel, service)
        yield add_one


def test_servers_and_clients_are_changed_one_by_one_and_back_and_every_call_is_answered(
    broker: Broker, service: str, new_server: NewServer, new_client: NewClient, callers: Callers
) -> None:
    def add_one(number: int) -> int:
        runs.append(number)
        return number + 1

    runs: list[int] = []
    old = RunningOriginal(broker, service)
    with original_caller(broker, service) as call_as_original:
        # 0.1.3 alone, then a server of now beside it, then a client of now as well.
        callers.add(call_as_original)
        wait_until(lambda: len(old.runs) > 5)
        new = new_server(add_one)
        wait_until(lambda: len(runs) > 5 and len(old.runs) > 10)
        client = new_client(timeout=60)
        callers.add(client.call.add_one)
        so_far = len(runs), len(old.runs)
        wait_until(lambda: len(runs) > so_far[0] + 5 and len(old.runs) > so_far[1] + 5)

        # The servers are changed: the old one dies in the middle of its work.
        old.die()
        so_far = len(runs), callers.answered
        wait_until(lambda: len(runs) > so_far[0] + 10 and callers.answered > so_far[1] + 10)

        # And back: 0.1.3 serves both clients alone.
        old = RunningOriginal(broker, service)
        assert new.prepare_stop(timeout=30)
        new.stop()
        wait_until(lambda: len(old.runs) > 20)
        callers.stop()

    wait_until(lambda: broker.queues()[f"rpc_{service}_request"].messages == 0)
    old.die()


def test_a_label_queue_is_taken_over_from_the_original_with_what_is_in_it(
    broker: Broker, service: str, label: str, new_server: NewServer, new_client: NewClient, callers: Callers
) -> None:
    client = new_client(queue_template=TEMPLATE, timeout=60)
    client.create_new_request_queue(label)
    old = RunningOriginal(broker, service, label=label)
    callers.add(client.call(routing_key=label).add_one)
    wait_until(lambda: len(old.runs) > 5)

    old.die()
    waiting = [client.defer(routing_key=label).add_one(number) for number in range(5)]
    server = new_server(queue_template=TEMPLATE)
    server.add_function(lambda number: number + 1, name="add_one")
    server.receive_from_queue(label, block=False)

    assert [result.get(timeout=60) for result in waiting] == [1, 2, 3, 4, 5]
    callers.stop()


def test_the_queue_that_the_originals_fanout_servers_shared_can_be_deleted_when_they_are_gone(
    broker: Broker, service: str, new_server: NewServer, new_client: NewClient
) -> None:
    runs: list[list[int]] = [[], []]
    old = RunningOriginal(broker, service, kind="fanout")
    for each in runs:
        new_server(each.append, cls=AmqpRpcFanoutServer, connected=True)
    client = new_client(cls=AmqpRpcFanoutClient)

    client.defer.append(1)
    wait_until(lambda: old.runs == [1] and runs == [[1], [1]])
    wait_until(lambda: broker.queues()[f"rpc_{service}_request"].messages == 0)
    old.die()
    client.defer.append(2)
    wait_until(lambda: runs == [[1, 2], [1, 2]])
    assert broker.queues()[f"rpc_{service}_request"].messages == 1
    broker.delete_queue(f"rpc_{service}_request")

    client.defer.append(3)
    wait_until(lambda: runs == [[1, 2, 3], [1, 2, 3]])
    assert f"rpc_{service}_request" not in broker.queues()


@pytest.mark.expects_errors("with other properties than Amphora declares")
def test_a_fixed_uuid_goes_over_when_its_old_response_queue_is_deleted(
    broker: Broker, service: str, new_server: NewServer, new_client: NewClient
) -> None:
    new_server().add_function(lambda: 5, name="five")
    queue = f"rpc_{service}_shop_response"
    with broker.channel() as channel:
        channel.queue_declare(queue, durable=True, exclusive=False, auto_delete=False)
    with pytest.raises(TopologyConflict, match=queue):
        new_client(uuid="shop").call.five()

    broker.delete_queue(queue)

    assert new_client(uuid="shop").call.five() == 5
