"""Where the broker is: what is taken, what is refused, and what the refusal says."""

from typing import Any

import pytest

from amphora.options.broker_options import BrokerOptions
from amphora.options.brokers import (
    AMQP_HOST,
    AMQP_PASSWORD,
    AMQP_PORT,
    AMQP_USER,
    AMQP_VHOST,
    BrokerAddress,
    addresses,
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
        ("amqp://u:p@ss@rabbit", BrokerAddress("amqp", "rabbit", 5672, "u", "p@ss", "/")),
        ("amqp://ü:pä:ß@rabbit", BrokerAddress("amqp", "rabbit", 5672, "ü", "pä:ß", "/")),
        ("AMQP://Rabbit", BrokerAddress("amqp", "rabbit", 5672, "guest", "guest", "/")),
        ("amqp://rabbit:/v", BrokerAddress("amqp", "rabbit", 5672, "guest", "guest", "v")),
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
        ("amqp://rabbit:70000", "not between 1 and 65535"),
        ("amqp://rabbit:0", "not between 1 and 65535"),
        ("amqp://[::1", "cannot be read"),
        ("amqp://rabbit?heartbeat=5", "arguments such as heartbeat="),
        ("memory://;amqp://rabbit", "memory:// cannot be combined"),
    ],
)
def test_a_url_that_is_none_is_refused_in_words(url: str, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        resolve(url)


def test_a_url_of_another_type_is_a_type_error_that_shows_no_value() -> None:
    with pytest.raises(TypeError, match=r"broker_url must be a str, not a bytes$"):
        resolve(b"amqp://u:secret@h")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changed", "kind", "text"),
    [
        ({"port": "5672"}, TypeError, "amqp_port must be an int, not a str"),
        ({"port": True}, TypeError, "amqp_port must be an int"),
        ({"port": 0}, ValueError, "amqp_port must be between 1 and 65535, not 0"),
        ({"port": 65536}, ValueError, "amqp_port must be between"),
        ({"host": None}, TypeError, "amqp_host must be a str, not None"),
        ({"user": b"u"}, TypeError, "amqp_user must be a str, not a bytes"),
        ({"password": b"secret"}, TypeError, "amqp_password must be a str, not a bytes$"),
        ({"vhost": 1}, TypeError, "amqp_vhost must be a str, not a int"),
        ({"host": "amqp://u:secret@rabbit"}, ValueError, "amqp_host must be a host name or an IP address; a URL"),
        ({"host": "u:secret@rabbit"}, ValueError, "amqp_host must be a host name"),
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
        (BrokerAddress("amqp", "rabbit", 5672, "a/b\x1b", "secret", "v w"), "amqp://a%2Fb%1B@rabbit:5672/v%20w"),
        (BrokerAddress("memory"), "memory://"),
    ],
)
def test_an_address_shows_all_but_the_password(address: BrokerAddress, text: str) -> None:
    assert str(address) == text
    assert "secret" not in repr(address)


# The order of brokers.

THREE = "amqp://a;amqp://b;amqp://c"


def order(**options: Any) -> str:
    """Return the hosts in the order in which they are tried."""
    brokers = BrokerOptions(broker_url=THREE, **options).brokers
    return "".join(address.host for address in brokers)


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
