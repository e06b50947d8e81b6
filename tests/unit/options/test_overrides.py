"""Whoever starts a program gives its clients and servers other arguments than it does."""

import ssl
from typing import Any

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


def ssl_of(broker_url: str | None, ssl: Any) -> Any:
    """Return the argument ``ssl`` with which an endpoint connects that was given this one."""
    return AmqpRpcServer("math", broker_url=broker_url, ssl=ssl)._publisher.link._settings.ssl


OWN = {"certfile": "own.pem", "keyfile": "own.key", "password": "own"}
CONTEXT = ssl.create_default_context()


@pytest.mark.parametrize(
    ("theirs", "given", "made"),
    [
        (False, {"ca_certs": "ca.pem"}, {"ca_certs": "ca.pem"}),
        (True, {"ca_certs": "ca.pem"}, {"ca_certs": "ca.pem"}),
        (CONTEXT, {"ca_certs": "ca.pem"}, {"ca_certs": "ca.pem"}),
        ({"ca_certs": "x.pem", **OWN}, {"ca_certs": "ca.pem"}, {"ca_certs": "ca.pem", **OWN}),
        ({"ca_certs": "x.pem", **OWN}, {"certfile": "a.pem"}, {"ca_certs": "x.pem", "certfile": "a.pem"}),
    ],
)
def test_tls_that_is_given_takes_the_place_of_what_the_program_says(theirs, given, made):
    with override_arguments(ssl=given):
        assert ssl_of("amqp://here", theirs) == made


@pytest.mark.parametrize(
    ("url", "theirs", "made"),
    [
        ("amqp://here", False, False),
        (None, False, False),
        ("amqps://here;amqp://there", False, False),
        ("amqps://here;amqps://there", False, {"ca_certs": "ca.pem", "certfile": "a.pem", "keyfile": "a.key"}),
        ("amqp://here", True, {"ca_certs": "ca.pem", "certfile": "a.pem", "keyfile": "a.key"}),
        ("amqps://here", OWN, {"ca_certs": "ca.pem", **OWN}),
        ("amqps://here", {"ca_certs": "x.pem"}, {"ca_certs": "x.pem", "certfile": "a.pem", "keyfile": "a.key"}),
        ("amqps://here", CONTEXT, CONTEXT),
    ],
)
def test_tls_by_default_is_for_those_that_speak_it_and_do_not_say_it_themselves(url, theirs, made):
    with override_arguments(default_ssl={"ca_certs": "ca.pem", "certfile": "a.pem", "keyfile": "a.key"}):
        assert ssl_of(url, theirs) == made


@pytest.mark.parametrize("given", [{"broker_url": "http://u:secret@x"}, {"concurrency": 0}])
def test_a_wrong_override_is_said_without_its_password(given):
    with override_arguments(**given), pytest.raises(ValueError, match=next(iter(given))) as caught:
        AmqpRpcServer("math")

    assert "secret" not in str(caught.value)
