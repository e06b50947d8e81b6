"""The driver of the subscriptions, on a connection that does what the test says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent
import pytest
from amqp.exceptions import ChannelError, NotFound, PreconditionFailed, ResourceError
from gevent.event import Event

from amphora.core.subscriptions import State
from amphora.driver.channel import Silence
from amphora.driver.incoming_message import IncomingMessage
from amphora.exceptions import BrokerError, BrokerUnreachable
from amphora.links import consumer as consumer_module
from amphora.links.consumer import Consumer
from amphora.links.subscription import Subscription
from amphora.links.topology import Topology, durable_queue
from amphora.links.topology import direct_exchange as exchange_named
from amphora.options.brokers import BrokerAddress
from amphora.options.settings import LinkSettings
from tests.support.eventually import wait_until
from tests.unit.links.fakes import FakeConnection


class NotingChannel:
    """A channel that notes what is asked on it."""

    #: None once the broker has closed it.
    connection: Any = "open"

    def __init__(self, broker: NotingConnection) -> None:
        self.broker = broker
        self.consumers: dict[str, Callable[[IncomingMessage], None]] = {}
        self.consumed: dict[str, str] = {}
        self.on_cancels: dict[str, Callable[[str], None]] = {}
        self.cancelled: list[str] = []
        self.acked: list[tuple[int, bool]] = []
        self.rejected: list[tuple[int, bool]] = []
        self.abandoned = self.closed = False
        self.on_closed: Callable[[ChannelError], None]

    def basic_qos(self, prefetch_size: int, prefetch_count: int, apply_global: bool) -> None:
        """Agree."""

    def basic_consume(self, queue: str, consumer_tag: str, on_cancel: Callable[[str], None], **options: Any) -> None:
        self.broker.answer("consume", queue)
        self.consumed[queue] = consumer_tag
        self.on_cancels[queue] = on_cancel

    def basic_cancel(self, consumer_tag: str) -> None:
        self.broker.answer("cancel", consumer_tag)
        self.cancelled.append(consumer_tag)

    def queue_declare(self, queue: str, passive: bool) -> None:
        self.broker.looks += 1
        self.broker.answer("look", queue)

    def ack(self, delivery_tag: int, *, multiple: bool = False) -> None:
        self.acked.append((delivery_tag, multiple))

    def reject(self, delivery_tag: int, *, requeue: bool) -> None:
        self.rejected.append((delivery_tag, requeue))

    def close_by_broker(self, error: ChannelError) -> None:
        self.connection = None
        self.on_closed(error)

    def abandon(self) -> None:
        # One that hangs stays open.
        self.abandoned = True

    def close(self) -> None:
        self.closed = True
        self.connection = None

    def delivery(self, queue: str, tag: int) -> IncomingMessage:
        """Hand a delivery to the consumer of a queue, as the owner would."""
        delivery = IncomingMessage(self, tag, False, {}, b"", "", "")
        self.consumers[self.consumed[queue]](delivery)
        return delivery


class NotingConnection(FakeConnection):
    """A connection whose channels agree, but for what `errors` says."""

    def __init__(self) -> None:
        self.channels: list[NotingChannel] = []
        #: What is raised for a method and a queue; an event is waited for first.
        self.errors: dict[tuple[str, str], Any] = {}
        self.looks = 0
        self._awake = Event()

    def channel(self) -> NotingChannel:
        self.channels.append(NotingChannel(self))
        return self.channels[-1]

    def answer(self, method: str, name: str) -> None:
        error = self.errors.get((method, name))
        if isinstance(error, Event):
            error.wait()
        elif error is not None:
            raise error

    def pump(self) -> None:
        gevent.sleep(0)

    def of(self, queue: str) -> NotingChannel:
        """Return the last channel on which a queue was consumed from."""
        return next(each for each in reversed(self.channels) if queue in each.consumed)


def not_found() -> NotFound:
    return NotFound("no queue", (50, 10), "queue.declare", 404)


def consumer_of(topology: Topology | None = None, **options: Any) -> Consumer:
    settings = LinkSettings((BrokerAddress("memory"),))
    options = {"ack_on_delivery": False, "on_fatal": pytest.fail, **options}
    return Consumer("test", settings, topology or Topology([]), **options)


@pytest.fixture
def consumer() -> Consumer:
    return consumer_of()


@pytest.fixture
def connection(consumer: Consumer) -> Any:
    connection = NotingConnection()
    consumer.attach(connection)
    yield connection
    consumer.detach()


def turn(consumer: Consumer) -> None:
    """Let the owner and the commands work until there is nothing to do at present."""
    for _ in range(10):
        consumer.work()
        gevent.sleep(0)


def subscribe(consumer: Consumer, queue: str, *, own: bool = True, **options: Any) -> Subscription:
    deliver: Any = options.pop("deliver", lambda _: None)
    subscription = consumer.subscribe(queue, prefetch=1, deliver=deliver, own=own, **options)
    turn(consumer)
    return subscription


def optional(consumer: Consumer, queue: str) -> Subscription:
    return subscribe(consumer, queue, own=False, optional=durable_queue(queue, exchange_named("e"), ""))


def test_a_subscription_consumes_and_its_end_cancels_that(consumer: Consumer, connection: NotingConnection) -> None:
    subscription = subscribe(consumer, "Alice")
    channel = connection.of("Alice")
    tag = channel.consumed["Alice"]

    consumer.cancel(subscription)
    turn(consumer)

    assert channel.cancelled == [tag]
    assert subscription.cancelled.is_set()
    assert tag not in channel.consumers


def test_what_comes_while_a_subscription_ends_is_given_back(consumer: Consumer, connection: NotingConnection) -> None:
    subscription = subscribe(consumer, "Alice", deliver=pytest.fail)
    channel = connection.of("Alice")

    consumer.cancel(subscription)
    channel.delivery("Alice", 7)

    assert channel.rejected == [(7, True)]


def test_a_closed_channel_is_replaced_by_one_and_every_subscription_taken_up_once(
    consumer: Consumer, connection: NotingConnection
) -> None:
    subscribe(consumer, "Alice")
    subscribe(consumer, "Bob")
    before = len(connection.channels)

    connection.of("Alice").close_by_broker(PreconditionFailed("unknown delivery tag"))
    for _ in range(5):
        turn(consumer)

    assert len(connection.channels) == before + 1
    assert sorted(connection.channels[-1].consumed) == ["Alice", "Bob"]
    assert len(connection.channels[-1].consumers) == 2


@pytest.mark.parametrize("first", ["channel", "subscription"])
def test_a_subscription_that_ends_together_with_its_channel_is_cancelled(
    consumer: Consumer, connection: NotingConnection, first: str
) -> None:
    subscription = subscribe(consumer, "Alice")
    channel = connection.of("Alice")

    steps = [
        lambda: channel.close_by_broker(PreconditionFailed("unknown delivery tag")),
        lambda: consumer.cancel(subscription),
    ]
    for step in steps if first == "channel" else reversed(steps):
        step()
    turn(consumer)

    assert subscription.cancelled.is_set()
    assert [each for each in connection.channels if each is not channel and each.consumed] == []


def test_a_closed_channel_is_forgotten_before_anything_is_logged(
    consumer: Consumer, connection: NotingConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscribe(consumer, "Alice")
    channel = connection.of("Alice")
    delivery = channel.delivery("Alice", 1)
    current = []
    monkeypatch.setattr(
        consumer_module.logger, "warning", lambda *_, **__: current.append(consumer.is_current(delivery))
    )

    assert consumer.is_current(delivery)
    channel.close_by_broker(PreconditionFailed("unknown delivery tag"))

    assert current == [False]
    consumer.ack(delivery)
    consumer.reject(delivery, requeue=True)
    assert (channel.acked, channel.rejected) == ([], [])


def test_a_missing_queue_is_looked_for_until_it_is_there(consumer: Consumer, connection: NotingConnection) -> None:
    connection.errors["look", "late"] = not_found()
    subscription = subscribe(consumer, "late", own=False)
    assert (subscription.missing, subscription.state) == (True, State.MISSING)
    looks = connection.looks

    def look_again() -> bool:
        consumer.work()
        return connection.looks > looks

    wait_until(look_again, 5)
    del connection.errors["look", "late"]
    wait_until(lambda: turn(consumer) or subscription.state is State.CONSUMING, 5)

    assert not subscription.missing


def test_the_end_of_a_connection_ends_its_timers(consumer: Consumer) -> None:
    connection = NotingConnection()
    consumer.attach(connection)
    connection.errors["look", "late"] = not_found()
    subscribe(consumer, "late", own=False)
    timers = [consumer._timer, consumer._check]
    assert all(timer.active for timer in timers)

    consumer.detach()

    assert not any(timer.active for timer in timers)


@pytest.mark.parametrize("method", ["look", "consume"])
def test_a_label_queue_that_hangs_costs_its_channel_only(
    consumer: Consumer, connection: NotingConnection, method: str
) -> None:
    own = subscribe(consumer, "own")
    connection.errors[method, "hangs"] = Silence("no answer")
    label = subscribe(consumer, "hangs", own=False)
    other = subscribe(consumer, "other", own=False)

    assert label.state is State.MISSING
    assert (own.state, other.state) == (State.CONSUMING, State.CONSUMING)
    assert connection.channels.index(connection.of("own")) >= 0
    assert [each.abandoned for each in connection.channels if "own" in each.consumed] == [False]
    assert sum(each.abandoned for each in connection.channels) == 1


def test_a_label_queue_that_is_waited_for_stops_nothing_else(consumer: Consumer, connection: NotingConnection) -> None:
    subscribe(consumer, "own")
    connection.errors["consume", "hangs"] = hanging = Event()
    label = subscribe(consumer, "hangs", own=False)
    other = subscribe(consumer, "other", own=False)
    asked = consumer.run(lambda _: "answer")
    turn(consumer)

    assert (label.state, other.state) == (State.STARTING, State.CONSUMING)
    assert asked.get(timeout=1) == "answer"
    hanging.set()
    turn(consumer)
    assert label.state is State.CONSUMING


def test_an_optional_queue_that_hangs_is_done_without(consumer: Consumer, connection: NotingConnection) -> None:
    own = subscribe(consumer, "own")
    connection.errors["consume", "control"] = Silence("no answer")
    subscription = optional(consumer, "control")
    wait_until(lambda: turn(consumer) or subscription.state is State.WITHOUT, 5)

    assert own.state is State.CONSUMING
    assert subscription.settled.is_set()


def test_label_queues_do_not_share_the_channel_of_the_own_one(consumer: Consumer, connection: NotingConnection) -> None:
    own = subscribe(consumer, "own")
    labels = [subscribe(consumer, name, own=False) for name in ("Alice", "Bob")]
    tokens = {name: connection.of(name).delivery(name, 1) for name in ("own", "Alice", "Bob")}

    connection.of("Alice").close_by_broker(not_found())

    assert [consumer.is_current(token) for token in tokens.values()] == [True, False, True]
    assert [own.state, labels[1].state] == [State.CONSUMING, State.CONSUMING]


@pytest.fixture
def no_linger(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let channels of ended subscriptions be closed in the next turn."""
    monkeypatch.setattr(consumer_module, "_LINGER", 0.0)


@pytest.mark.usefixtures("no_linger")
def test_the_channel_of_a_label_is_closed_once_nothing_on_it_is_unsettled(
    consumer: Consumer, connection: NotingConnection
) -> None:
    label = subscribe(consumer, "Alice", own=False)
    channel = connection.of("Alice")
    delivery = channel.delivery("Alice", 1)

    consumer.cancel(label)
    turn(consumer)
    assert label.cancelled.is_set()
    assert not channel.abandoned
    consumer.ack(delivery)
    turn(consumer)

    assert channel.acked == [(1, False)]
    wait_until(lambda: turn(consumer) or channel.abandoned)


def test_the_channel_of_an_ended_subscription_stays_open_for_a_while_unless_no_other_is_free(
    consumer: Consumer, connection: NotingConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    label = subscribe(consumer, "Alice", own=False)
    channel = connection.of("Alice")
    consumer.cancel(label)
    turn(consumer)
    turn(consumer)
    assert label.cancelled.is_set()
    assert not channel.abandoned

    with monkeypatch.context() as patched:
        patched.setattr(connection, "channel", no_channel)
        subscribe(consumer, "Bob", own=False)

        wait_until(lambda: turn(consumer) or channel.abandoned)


def test_acknowledgements_of_an_own_queue_are_joined() -> None:
    consumer = consumer_of(ack_on_delivery=True)
    connection = NotingConnection()
    consumer.attach(connection)
    subscribe(consumer, "own")
    channel = connection.of("own")
    for tag in (1, 2, 3):
        channel.delivery("own", tag)

    consumer.work()
    consumer.work()

    assert channel.acked == [(3, True)]
    channel.delivery("own", 4)
    channel.close_by_broker(not_found())
    turn(consumer)
    assert channel.acked == [(3, True)]
    assert all(not each.acked for each in connection.channels if each is not channel)
    consumer.detach()


def test_a_cancel_of_the_broker_is_followed_by_another_look(consumer: Consumer, connection: NotingConnection) -> None:
    label = subscribe(consumer, "Alice", own=False)
    looks = connection.looks
    channel = connection.of("Alice")

    channel.on_cancels["Alice"](channel.consumed["Alice"])
    turn(consumer)
    assert (label.state, connection.looks) == (State.CANCELED, looks)

    wait_until(lambda: turn(consumer) or label.state is State.CONSUMING, 5)
    assert connection.looks == looks + 1


def test_a_command_that_fails_with_anything_ends_as_its_own_error(
    consumer: Consumer, connection: NotingConnection
) -> None:
    def raising(error: Exception) -> Callable[[Any], None]:
        def action(channel: Any) -> None:
            raise error

        return action

    results = [
        consumer.run(raising(error)) for error in (ValueError("cannot be encoded"), not_found(), Silence("no answer"))
    ]
    last = consumer.run(lambda _: "fine")
    turn(consumer)

    for result, kind in zip(results, (ValueError, BrokerError, BrokerUnreachable), strict=True):
        with pytest.raises(kind):
            result.get(timeout=1)
    assert last.get(timeout=1) == "fine"


def test_a_command_that_the_loss_of_the_connection_ended_is_for_the_next_one(consumer: Consumer) -> None:
    connections = [NotingConnection(), NotingConnection()]
    consumer.attach(connections[0])
    ran = []

    def action(channel: NotingChannel) -> str:
        ran.append(channel.broker)
        if channel.broker is connections[0]:
            Event().wait()
        return "done"

    result = consumer.run(action)
    turn(consumer)
    consumer.detach()
    gevent.sleep(0)

    consumer.attach(connections[1])
    turn(consumer)

    assert result.get(timeout=1) == "done"
    assert ran == connections
    consumer.detach()


def test_a_topology_that_is_refused_on_a_new_connection_is_an_error_of_that() -> None:
    class Refused(Topology):
        def declare(self, channel: Any) -> None:
            raise PreconditionFailed("inequivalent arg")

    consumer = consumer_of(Refused([]))

    with pytest.raises(PreconditionFailed):
        consumer.attach(NotingConnection())
    consumer.detach()


def test_a_topology_that_is_refused_later_costs_no_connection_and_is_declared_again() -> None:
    refused = [PreconditionFailed("inequivalent arg")]

    class Deleted(Topology):
        tries = 0

        def declare(self, channel: Any) -> None:
            self.tries += 1
            if self.tries == 2:
                raise refused[0]

    topology = Deleted([])
    consumer = consumer_of(topology)
    connection = NotingConnection()
    consumer.attach(connection)
    own = subscribe(consumer, "own")

    consumer.check_topology()
    wait_until(lambda: turn(consumer) or topology.tries >= 3, 5)

    assert own.state is State.CONSUMING
    assert consumer.consuming
    consumer.detach()


def test_label_queues_that_hang_cost_no_more_than_eight_channels_and_never_the_connection(
    consumer: Consumer, connection: NotingConnection
) -> None:
    own = subscribe(consumer, "own")
    for number in range(20):
        connection.errors["look", f"hangs{number}"] = Silence("no answer")
        subscribe(consumer, f"hangs{number}", own=False)

    assert own.state is State.CONSUMING
    assert sum(each.abandoned for each in connection.channels) == 8
    for channel in connection.channels:
        if channel.abandoned:
            # The queue answers after all, and the broker closes the channel.
            channel.connection = None
    assert subscribe(consumer, "other", own=False).state is State.CONSUMING


def test_an_own_queue_that_hangs_again_and_again_costs_the_connection(consumer: Consumer) -> None:
    class Hanging(Topology):
        hangs = False

        def declare(self, channel: Any) -> None:
            if self.hangs:
                raise Silence("no answer")

    topology = Hanging([])
    consumer = consumer_of(topology)
    consumer.attach(NotingConnection())
    topology.hangs = True
    for _ in range(7):
        consumer._silences += 1
    consumer.check_topology()

    with pytest.raises(Silence, match="8 channels"):
        turn(consumer)
    consumer.detach()


def test_the_end_in_good_order_acknowledges_and_closes_every_channel() -> None:
    consumer = consumer_of(ack_on_delivery=True)
    connection = NotingConnection()
    consumer.attach(connection)
    subscribe(consumer, "own")
    subscribe(consumer, "Alice", own=False)
    connection.of("own").delivery("own", 5)

    consumer.finish()
    consumer.detach()

    assert connection.of("own").acked == [(5, True)]
    assert connection.of("own").closed
    assert connection.of("Alice").closed


@pytest.mark.parametrize("when", ["before it began", "after its answer"])
def test_a_channel_that_closes_around_a_command_is_taken_up_by_every_subscription(
    consumer: Consumer, connection: NotingConnection, when: str
) -> None:
    first = subscribe(consumer, "Alice")
    channel = connection.of("Alice")
    answered = connection.errors["consume", "Bob"] = Event()

    second = consumer.subscribe("Bob", prefetch=1, deliver=pytest.fail, own=True)
    consumer.work()
    if when == "after its answer":
        gevent.sleep(0)
        answered.set()
    # All of this in one turn of the owner.
    channel.close_by_broker(PreconditionFailed("unknown delivery tag"))
    del connection.errors["consume", "Bob"]
    answered.set()

    def are_consumed() -> bool:
        turn(consumer)
        return set(connection.channels[-1].consumed) == {"Alice", "Bob"}

    wait_until(are_consumed)
    assert connection.channels[-1] is not channel
    assert [first.state, second.state] == [State.CONSUMING, State.CONSUMING]


@pytest.mark.usefixtures("no_linger")
def test_a_message_that_is_set_aside_is_counted_like_any_other_of_its_channel(connection: NotingConnection) -> None:
    consumer = consumer_of()
    suspects: list[IncomingMessage] = []
    consumer.on_suspect = suspects.append
    consumer.attach(connection)
    label = subscribe(consumer, "Alice", own=False)
    channel: Any = connection.of("Alice")
    kept = channel.delivery("Alice", 1)
    channel.on_suspect(IncomingMessage(channel, 2, True, {}, b"", "", ""))
    consumer.cancel(label)
    turn(consumer)

    consumer.ack(suspects[0])
    turn(consumer)
    assert not channel.abandoned
    consumer.ack(kept)
    turn(consumer)

    assert channel.acked == [(2, False), (1, False)]
    wait_until(lambda: turn(consumer) or channel.abandoned)
    consumer.detach()


def test_a_topology_for_which_no_channel_is_free_is_declared_later(
    consumer: Consumer, connection: NotingConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = subscribe(consumer, "own")
    with monkeypatch.context() as patched:
        patched.setattr(connection, "channel", no_channel)
        connection.of("own").close_by_broker(PreconditionFailed("unknown delivery tag"))
        consumer._control = consumer_module.SideChannel(connection, consumer._hung.append)
        turn(consumer)

    def is_consumed() -> bool:
        turn(consumer)
        return own.state is State.CONSUMING

    wait_until(is_consumed)


def test_a_command_for_which_no_channel_is_free_ends_with_that(
    consumer: Consumer, connection: NotingConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "channel", no_channel)
    consumer._control = consumer_module.SideChannel(connection, consumer._hung.append)

    result = consumer.run(lambda channel: channel.queue_declare("any", passive=True))
    turn(consumer)

    assert isinstance(result.exception, BrokerUnreachable)


def no_channel() -> NotingChannel:
    raise ResourceError("No free channel ids, current=8, channel_max=8", (20, 10))
