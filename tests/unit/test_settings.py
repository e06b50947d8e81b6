"""Settings: what is taken, what is refused, and what the refusal says."""

import math
import ssl
from typing import Any

import pytest
from gevent import ssl as gevent_ssl

from amphora.settings import (
    AMQP_HOST,
    AMQP_PASSWORD,
    AMQP_PORT,
    AMQP_USER,
    AMQP_VHOST,
    BrokerAddress,
    LinkSettings,
    OutboxLimits,
    addresses,
    at_least_one,
    queue_type_of,
    seconds,
    tries_limit,
)

LOCAL = BrokerAddress("amqp", "127.0.0.1", 5672, "guest", "guest", "/")


def resolve(broker_url: str | None = None, **changed: Any) -> tuple[BrokerAddress, ...]:
    defaults: dict[str, Any] = {
        "host": AMQP_HOST,
        "port": AMQP_PORT,
        "user": AMQP_USER,
        "password": AMQP_PASSWORD,
        "vhost": AMQP_VHOST,
    }
    return addresses(broker_url, **{**defaults, **changed})


# Addresses.


def test_nothing_given_means_the_local_broker() -> None:
    assert resolve() == (LOCAL,)


def test_the_single_arguments_make_one_address() -> None:
    given: dict[str, Any] = {"host": "rabbit", "port": 5673, "user": "u", "password": "p", "vhost": "v"}

    assert resolve(**given) == (BrokerAddress("amqp", "rabbit", 5673, "u", "p", "v"),)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("amqp://", LOCAL),
        ("amqp://rabbit", BrokerAddress("amqp", "rabbit", 5672, "guest", "guest", "/")),
        ("amqps://rabbit", BrokerAddress("amqps", "rabbit", 5671, "guest", "guest", "/")),
        ("amqp://u:p@rabbit:1234/v", BrokerAddress("amqp", "rabbit", 1234, "u", "p", "v")),
        ("amqp://u:p@rabbit:1234/", BrokerAddress("amqp", "rabbit", 1234, "u", "p", "/")),
        ("amqp://rabbit/%2F", BrokerAddress("amqp", "rabbit", 5672, "guest", "guest", "/")),
        ("amqp://rabbit/a%2Fb", BrokerAddress("amqp", "rabbit", 5672, "guest", "guest", "a/b")),
        ("amqp://rabbit//", BrokerAddress("amqp", "rabbit", 5672, "guest", "guest", "/")),
        ("amqp://u%40x:p%23%3F%3B@rabbit", BrokerAddress("amqp", "rabbit", 5672, "u@x", "p#?;", "/")),
        ("amqp://u:@rabbit", BrokerAddress("amqp", "rabbit", 5672, "u", "", "/")),
        ("amqp://[::1]:5", BrokerAddress("amqp", "::1", 5, "guest", "guest", "/")),
        ("memory://", BrokerAddress("memory")),
    ],
)
def test_a_url_is_read_whole(url: str, address: BrokerAddress) -> None:
    assert resolve(url) == (address,)


def test_several_urls_are_several_brokers_in_order() -> None:
    found = resolve("amqp://one; amqps://two:7 ;")

    assert [(each.scheme, each.host, each.port) for each in found] == [("amqp", "one", 5672), ("amqps", "two", 7)]


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("host", "127.0.0.1"),
        ("port", 5672),
        ("user", "guest"),
        ("password", "guest"),
        ("vhost", "/"),
    ],
)
def test_a_url_with_a_single_argument_is_refused_even_if_that_equals_its_default(argument: str, value: Any) -> None:
    same_but_given = value + 0 if isinstance(value, int) else "".join(list(value))

    with pytest.raises(ValueError, match=f"either broker_url or amqp_{argument}, not both"):
        resolve("amqp://rabbit", **{argument: same_but_given})


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("", "broker_url is empty"),
        (" ; ", "broker_url is empty"),
        ("rabbit:5672", "must begin with amqp://"),
        ("http://rabbit", "must begin with amqp://, amqps:// or memory://, not 'http'"),
        ("amqp://rabbit:port", "cannot be read"),
        ("amqp://rabbit:70000", "cannot be read"),
        ("amqp://[::1", "cannot be read"),
        ("amqp://rabbit?heartbeat=5", "takes no .query"),
        ("memory://;amqp://rabbit", "memory:// cannot be combined"),
    ],
)
def test_a_url_that_is_none_is_refused_in_words(url: str, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        resolve(url)


@pytest.mark.parametrize(
    "url", ["amqp://u:secret@h:port", "amqp://u:secret@h?x", "amq://u:secret@h", "amqp://u:secret@[h"]
)
def test_no_refusal_shows_the_password(url: str) -> None:
    with pytest.raises(ValueError, match="broker_url") as caught:
        resolve(url)

    assert "secret" not in str(caught.value)


def test_a_url_of_another_type_is_a_type_error_that_shows_no_value() -> None:
    with pytest.raises(TypeError, match=r"broker_url must be a str, not a bytes$"):
        resolve(b"amqp://u:secret@h")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changed", "kind", "text"),
    [
        ({"port": "5672"}, TypeError, "amqp_port must be an int, not '5672'"),
        ({"port": True}, TypeError, "amqp_port must be an int"),
        ({"port": 0}, ValueError, "amqp_port must be between 1 and 65535, not 0"),
        ({"port": 65536}, ValueError, "amqp_port must be between"),
        ({"host": None}, TypeError, "amqp_host must be a str, not None"),
        ({"user": b"u"}, TypeError, "amqp_user must be a str, not b'u'"),
        ({"password": b"secret"}, TypeError, "amqp_password must be a str, not a bytes$"),
        ({"vhost": 1}, TypeError, "amqp_vhost must be a str, not 1"),
    ],
)
def test_a_wrong_single_argument_is_named(changed: dict[str, Any], kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        resolve(**changed)


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (BrokerAddress("amqp", "rabbit", 5672, "u", "secret", "v"), "amqp://u@rabbit:5672/v"),
        (BrokerAddress("amqps", "::1", 5671, "u", "secret", "/"), "amqps://u@[::1]:5671//"),
        (BrokerAddress("memory"), "memory://"),
    ],
)
def test_an_address_shows_all_but_the_password(address: BrokerAddress, text: str) -> None:
    assert str(address) == text
    assert "secret" not in repr(address)


# Links.


@pytest.mark.parametrize("heartbeat", [0, 1, 30, 30.0])
def test_a_heartbeat_is_in_whole_seconds(heartbeat: float) -> None:
    assert LinkSettings((LOCAL,), heartbeat=heartbeat).heartbeat == heartbeat


@pytest.mark.parametrize(
    ("changed", "kind", "text"),
    [
        ({"heartbeat": 0.5}, ValueError, "heartbeat is in whole seconds"),
        ({"heartbeat": 1.5}, ValueError, "heartbeat is in whole seconds"),
        ({"heartbeat": -1}, ValueError, "heartbeat must be"),
        ({"heartbeat": "30"}, TypeError, "heartbeat must be a number of seconds, not '30'"),
        ({"connect_timeout": 0}, ValueError, "connect_timeout must be"),
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
def test_a_wrong_setting_of_a_link_is_named(changed: dict[str, Any], kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        LinkSettings((LOCAL,), **changed)


@pytest.mark.parametrize("option", [True, False, {}, {"verify": False}, gevent_ssl.create_default_context()])
def test_every_documented_form_of_ssl_is_taken(option: Any) -> None:
    assert LinkSettings((LOCAL,), ssl=option).ssl is option


def test_settings_do_not_show_the_password_of_a_key() -> None:
    settings = LinkSettings((LOCAL,), ssl={"certfile": "client.pem", "password": "5ecret"})

    assert "5ecret" not in repr(settings)


def test_the_patched_library_makes_contexts_that_are_taken() -> None:
    context = ssl.create_default_context()

    assert LinkSettings((LOCAL,), ssl=context).ssl is context


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        LinkSettings((LOCAL,)).heartbeat = 5  # type: ignore[misc]


# Limits and numbers.


@pytest.mark.parametrize(
    ("changed", "name"),
    [({"count": 0}, "outbox_max_count"), ({"size": -1}, "outbox_max_bytes"), ({"message_size": 0}, "max_message_size")],
)
def test_a_wrong_limit_is_called_as_the_user_called_it(changed: dict[str, int], name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 1"):
        OutboxLimits(**changed)


@pytest.mark.parametrize(("value", "kind"), [(True, TypeError), (1.0, TypeError), ("1", TypeError), (0, ValueError)])
def test_a_count_is_an_int_of_at_least_one(value: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind, match=f"concurrency must be .*, not {value!r}"):
        at_least_one("concurrency", value)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (True, TypeError),
        ("1", TypeError),
        (None, TypeError),
        (-1, ValueError),
        (math.inf, ValueError),
        (math.nan, ValueError),
    ],
)
def test_a_duration_is_a_finite_number(value: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="timeout must be"):
        seconds("timeout", value, zero=True)


def test_zero_seconds_are_taken_only_where_they_make_sense() -> None:
    assert seconds("timeout", 0, zero=True) == 0.0
    with pytest.raises(ValueError, match="timeout must be more than 0 s, not 0"):
        seconds("timeout", 0)


# Queue types and the order of brokers.


@pytest.mark.parametrize("value", ["classic", "quorum"])
def test_the_queue_types_of_rabbitmq_are_known(value: str) -> None:
    assert queue_type_of(value) == value


@pytest.mark.parametrize("value", ["stream", "Quorum", "", None, ["quorum"]])
def test_any_other_queue_type_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="queue_type must be 'classic' or 'quorum', not "):
        queue_type_of(value)


THREE = "amqp://a;amqp://b;amqp://c"


def order(**options: Any) -> str:
    """Return the hosts in the order in which they are tried."""
    settings = LinkSettings.of(THREE, AMQP_HOST, AMQP_PORT, AMQP_USER, AMQP_PASSWORD, AMQP_VHOST, **options)
    return "".join(address.host for address in settings.brokers)


def test_brokers_are_tried_in_the_order_of_the_url() -> None:
    assert order() == "abc"


def test_brokers_are_shuffled_on_request() -> None:
    orders = {order(shuffle_brokers=True) for _ in range(200)}

    # That one of the six orders is missed in 200 draws happens once in a million billion times.
    assert orders == {"abc", "acb", "bac", "bca", "cab", "cba"}


@pytest.mark.parametrize("value", ["yes", 1, None])
def test_whether_to_shuffle_is_a_bool(value: Any) -> None:
    with pytest.raises(TypeError, match="shuffle_brokers must be a bool"):
        order(shuffle_brokers=value)


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
