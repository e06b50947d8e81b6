"""Whoever starts a program gives its clients and servers other arguments than it does."""

import pytest

from amphora import AmqpRpcClient, AmqpRpcServer, override_arguments


def test_an_override_takes_the_place_of_what_the_program_says_and_ends_with_its_context():
    with override_arguments(broker_url="amqp://there", concurrency=7):
        server = AmqpRpcServer("math", broker_url="amqp://here", concurrency=3)
        client = AmqpRpcClient("math", amqp_host="here", autostart=False)

    assert (server.broker, server.concurrency) == ("amqp://guest@there:5672//", 7)
    assert client.broker == "amqp://guest@there:5672//"
    assert AmqpRpcServer("math").broker == "amqp://guest@127.0.0.1:5672//"
    assert AmqpRpcServer("math").concurrency == 100


@pytest.mark.parametrize(("given", "host"), [({}, "there"), ({"amqp_host": "here"}, "here")])
def test_a_default_is_for_those_that_name_no_broker(given, host):
    with override_arguments(default_broker_url="amqp://there"):
        server = AmqpRpcServer("math", **given)
        named = AmqpRpcServer("math", broker_url="amqp://127.0.0.1")

    assert server.broker == f"amqp://guest@{host}:5672//"
    assert named.broker == "amqp://guest@127.0.0.1:5672//"


@pytest.mark.parametrize("given", [{"broker_url": "http://u:secret@x"}, {"concurrency": 0}])
def test_a_wrong_override_is_said_without_its_password(given):
    with override_arguments(**given), pytest.raises(ValueError, match=next(iter(given))) as caught:
        AmqpRpcServer("math")

    assert "secret" not in str(caught.value)
