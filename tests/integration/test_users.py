"""Who calls: the broker's user as `current_request().user`, and functions for certain users, over RabbitMQ."""

from collections.abc import Callable, Iterator
from typing import Any

import amqp
import pytest

from amphora import AmqpRpcClient, AmqpRpcServer, DeadLetters, Forbidden, IgnoreRequest, current_request, require_user
from tests.integration.conftest import NewClient, NewServer
from tests.support.broker import Broker
from tests.support.eventually import wait_until

PASSWORD = "secret"
NewUser = Callable[[], str]


@pytest.fixture
def new_user(broker: Broker, unique_name: Callable[[str], str]) -> Iterator[NewUser]:
    """Add users who may do anything, and return their names."""
    users: list[str] = []

    def add() -> str:
        users.append(unique_name("user"))
        broker.add_user(users[-1], PASSWORD)
        return users[-1]

    yield add
    for user in users:
        broker.delete_user(user)


@pytest.fixture
def client_of(broker: Broker, new_client: NewClient) -> Callable[..., AmqpRpcClient]:
    """Make a client that connects as a user."""

    def make(user: str, **options: Any) -> AmqpRpcClient:
        return new_client(broker_url=broker.url_for(user=user, password=PASSWORD), **options)

    return make


def who() -> str | None:
    request = current_request()
    return None if request is None else request.user


def test_a_function_is_told_the_user_where_the_client_says_so(
    new_server: NewServer, client_of: Callable[..., AmqpRpcClient], new_user: NewUser
) -> None:
    new_server(who)
    user = new_user()

    assert client_of(user, identify=True).call.who() == user
    assert client_of(user).call.who() is None


@pytest.mark.parametrize("options", [{}, {"signing_keys": ["a key for this service"]}], ids=["unsigned", "signed"])
def test_a_function_runs_for_its_users_alone(
    new_server: NewServer, client_of: Callable[..., AmqpRpcClient], new_user: NewUser, options: dict[str, Any]
) -> None:
    shop, other = new_user(), new_user()
    runs: list[str | None] = []

    @require_user(shop, "backoffice")
    def refund() -> str:
        runs.append(who())
        return "refunded"

    server = new_server(refund, who, connected=True, **options)

    assert client_of(shop, identify=True, **options).call.refund() == "refunded"
    with pytest.raises(Forbidden, match=f"'refund' is not for the user '{other}'"):
        client_of(other, identify=True, **options).call.refund()
    with pytest.raises(Forbidden, match="the request does not name its user"):
        client_of(shop, **options).call.refund()
    assert client_of(other, **options).call.who() is None
    assert runs == [shop]
    assert server.stats()["wrong_requests"] == 2
    assert server.stats()["errors"] == 0


def test_the_broker_does_not_let_a_user_name_another_one(
    new_server: NewServer, broker: Broker, new_user: NewUser, service: str
) -> None:
    shop, attacker = new_user(), new_user()
    runs: list[int] = []
    refund = require_user(shop)(runs.append)
    server = new_server(connected=True)
    server.add_function(refund, "refund")
    body = b'{"func": "refund", "args": [1], "kwargs": {}}'

    with broker.channel(userid=attacker, password=PASSWORD) as channel:
        channel.basic_publish(amqp.Message(body, user_id=shop), f"rpc_{service}_request", "")
        with pytest.raises(amqp.PreconditionFailed, match="user_id"):
            channel.basic_qos(0, 1, False)
    with broker.channel(userid=attacker, password=PASSWORD) as channel:
        channel.basic_publish(amqp.Message(body, user_id=attacker), f"rpc_{service}_request", "")

    wait_until(lambda: server.stats()["wrong_requests"] == 1)
    assert runs == []


def test_a_dead_letter_runs_for_the_user_who_gives_it_back(
    new_server: NewServer, client_of: Callable[..., AmqpRpcClient], new_user: NewUser, broker: Broker, service: str
) -> None:
    shop, operator = new_user(), new_user()
    runs: list[str | None] = []

    @require_user(shop, operator)
    def refund() -> None:
        runs.append(who())
        if len(runs) <= 2:
            raise IgnoreRequest

    new_server(refund, connected=True, delivery_limit=2, ignore_delay=0)
    client_of(shop, identify=True).defer.refund()
    url = broker.url_for(user=operator, password=PASSWORD)
    with DeadLetters(service, broker_url=url, identify=True) as dead:
        assert dead.wait_connected(20)
        wait_until(lambda: (found := dead.status()) is not None and found.messages == 1)
        for letter in dead.letters():
            dead.requeue(letter)

        wait_until(lambda: runs == [shop, shop, operator])


def test_over_memory_everybody_is_guest(service: str) -> None:
    with AmqpRpcServer(service, broker_url="memory://") as server:
        server.add_function(who)
        server.add_function(require_user("guest")(who), "guests_only")
        server.serve()
        with AmqpRpcClient(service, broker_url="memory://", timeout=20, identify=True) as client:
            assert client.call.who() == client.call.guests_only() == "guest"


def test_several_users_in_one_url_are_refused_where_requests_name_theirs() -> None:
    url = "amqp://one:x@127.0.0.1;amqp://two:x@127.0.0.1"

    with pytest.raises(ValueError, match="the same user in all addresses"):
        AmqpRpcClient("math", broker_url=url, identify=True, autostart=False)
