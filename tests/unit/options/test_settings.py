"""Options: what is taken, what is refused, and what the refusal says."""

import math
import ssl
from typing import Any

import pytest
from gevent import ssl as gevent_ssl

from amphora.options.broker_options import BrokerOptions
from amphora.options.client_options import ClientOptions
from amphora.options.settings import queue_type_of, tries_limit

# Connections.


@pytest.mark.parametrize("heartbeat", [0, 1, 30, 30.0])
def test_a_heartbeat_is_in_whole_seconds(heartbeat: float) -> None:
    assert BrokerOptions(heartbeat=heartbeat).link_settings.heartbeat == heartbeat


@pytest.mark.parametrize(
    ("changed", "kind", "text"),
    [
        ({"heartbeat": 0.5}, ValueError, "heartbeat is in whole seconds"),
        ({"heartbeat": 1.5}, ValueError, "heartbeat is in whole seconds"),
        ({"heartbeat": -1}, ValueError, "heartbeat must be"),
        ({"heartbeat": "30"}, TypeError, "heartbeat must be a number of seconds, not '30'"),
        ({"heartbeat": 65_536}, ValueError, "heartbeat must be at most 65535 s"),
        ({"connect_timeout": 0}, ValueError, "connect_timeout must be"),
        ({"connect_timeout": 10**400}, ValueError, "connect_timeout is too large"),
        ({"reconnect_delay_max": math.inf}, ValueError, "reconnect_delay_max must be"),
        ({"ssl": {"ca_cert": "x"}}, ValueError, r"unknown keys \['ca_cert'\]; known are .*ca_certs"),
        ({"ssl": "yes"}, TypeError, "ssl must be a bool, a dict or an SSLContext, not a str"),
        ({"ssl": [("password", "5ecret")]}, TypeError, "not a list"),
        ({"ssl": {"verify": "yes"}}, TypeError, r"ssl\['verify'\] must be a bool, not a str"),
        ({"ssl": {"check_hostname": None}}, TypeError, r"ssl\['check_hostname'\] must be a bool"),
        ({"ssl": {"keyfile": "key.pem"}}, ValueError, "no certfile that it belongs to"),
        ({"ssl": {"password": "5ecret"}}, ValueError, "no certfile that it belongs to"),
        ({"ssl": None}, TypeError, "ssl must be"),
    ],
)
def test_a_wrong_option_of_a_connection_is_named(changed: dict[str, Any], kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        BrokerOptions(**changed)


@pytest.mark.parametrize("option", [True, False, {}, {"verify": False}, gevent_ssl.create_default_context()])
def test_every_documented_form_of_ssl_is_taken(option: Any) -> None:
    assert BrokerOptions(ssl=option).link_settings.ssl is option


def test_options_do_not_show_passwords_and_keys() -> None:
    options = ClientOptions(
        service_name="math",
        broker_url="amqp://u:5ecret@host",
        ssl={"certfile": "client.pem", "password": "5ecret"},
        signing_keys=["5ecret" * 4],
    )

    assert "5ecret" not in repr(options)
    assert "5ecret" not in repr(options.link_settings)
    assert "5ecret" not in repr(BrokerOptions(amqp_password="5ecret"))


def test_the_patched_library_makes_contexts_that_are_taken() -> None:
    context = ssl.create_default_context()

    assert BrokerOptions(ssl=context).ssl is context


def test_options_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        BrokerOptions().heartbeat = 5  # type: ignore[misc]


# Limits and numbers.


@pytest.mark.parametrize(
    ("name", "value"), [("outbox_max_count", 0), ("outbox_max_bytes", -1), ("max_message_size", 0)]
)
def test_a_wrong_limit_is_called_as_the_user_called_it(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 1"):
        ClientOptions(service_name="math", **{name: value})


@pytest.mark.parametrize(("size", "error"), [(0, ValueError), (None, TypeError), ("1", TypeError)])
def test_the_largest_size_is_a_count(size: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="max_received_size"):
        ClientOptions(service_name="math", max_received_size=size)


# Queue types.


@pytest.mark.parametrize("value", ["classic", "quorum"])
def test_the_queue_types_of_rabbitmq_are_known(value: str) -> None:
    assert queue_type_of(value) == value


@pytest.mark.parametrize("value", ["stream", "Quorum", "", None, ["quorum"]])
def test_any_other_queue_type_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="queue_type must be 'auto', 'classic' or 'quorum', not "):
        queue_type_of(value)


# The limit of tries.


@pytest.mark.parametrize(
    ("value", "queue_type", "limit"),
    [
        (None, "classic", None),
        (None, "quorum", 20),
        (0, "classic", None),
        (0, "quorum", None),
        (2, "classic", 2),
        (7, "quorum", 7),
    ],
)
def test_tries_have_a_limit_by_default_with_quorum_queues_only(
    value: int | None, queue_type: str, limit: int | None
) -> None:
    assert tries_limit(value, queue_type) == limit


@pytest.mark.parametrize(("value", "error"), [(1, ValueError), (-1, ValueError), (True, TypeError), (2.5, TypeError)])
def test_a_limit_of_tries_that_makes_no_sense_is_refused(value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="delivery_limit must be"):
        tries_limit(value, "classic")


def test_a_limit_of_tries_may_be_as_large_as_the_broker_takes() -> None:
    assert tries_limit(100_000_000, "quorum") == 100_000_000
    for larger in (100_000_001, 2**62, 2**64):
        with pytest.raises(ValueError, match="delivery_limit must be at most 100000000"):
            tries_limit(larger, "quorum")
