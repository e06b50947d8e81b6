"""Every AMQP name of a service, and what no name may be."""

from collections.abc import Callable
from typing import Any

import pytest

from amphora.client.caller import CALL_OPTIONS, PrettyCaller
from amphora.protocol.names import Names, check_routing_key, uuid_of
from amphora.server.function_names import remote_name


def test_a_service_has_the_names_that_0_1_documents() -> None:
    names = Names("math")

    assert (names.request_exchange, names.request_queue) == ("rpc_math_request", "rpc_math_request")
    assert names.response_exchange == "rpc_math_response"
    assert names.response_queue("some-uuid") == "rpc_math_some-uuid_response"
    assert names.fanout_queue("some-uuid") == "rpc_math_some-uuid_request"


def test_label_queues_are_named_as_0_1_3_really_did() -> None:
    assert Names("math").label_queue("Alice") == "rpc_math_queue_Alice"


def test_a_template_can_name_label_queues_as_0_1_documents() -> None:
    assert Names("math", "rpc_{label}_request").label_queue("Alice") == "rpc_Alice_request"


@pytest.mark.parametrize("label", ["Alice Liddell", "алиса", "{label}", "a.b#*", "%s"])
def test_a_label_may_be_any_text(label: str) -> None:
    assert Names("math").label_queue(label) == f"rpc_math_queue_{label}"


def test_the_label_of_the_services_own_queue_is_refused() -> None:
    with pytest.raises(ValueError, match=r"label 'math' gives 'rpc_math_request', the request queue of the service"):
        Names("math", "rpc_{label}_request").label_queue("math")


def test_the_services_name_is_a_fine_label_under_another_template() -> None:
    assert Names("math", "q_{label}").label_queue("math") == "q_math"


@pytest.mark.parametrize(
    ("template", "kind", "text"),
    [
        ("rpc_queue", ValueError, r"must contain \{label\}"),
        ("rpc_{namespace}", ValueError, r"must contain \{label\}"),
        ("{label}_{user}", ValueError, r"unknown fields \['user'\]"),
        ("{label}_{}", ValueError, r"unknown fields \[''\]"),
        ("{label.__class__}", ValueError, "unknown fields"),
        ("{label", ValueError, "is not a template"),
        (None, TypeError, "queue_template must be a str, not None"),
    ],
)
def test_a_wrong_template_is_refused_at_once(template: Any, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        Names("math", template)


@pytest.mark.parametrize(
    "template",
    ["{label:d}", "{label!x}", "{label:{namespace}}", "{label:{other}}"],
)
def test_a_template_that_cannot_be_filled_in_is_refused_at_once(template: str) -> None:
    with pytest.raises(ValueError, match="is not a template"):
        Names("math", template)


@pytest.mark.parametrize(("name", "kind"), [(None, TypeError), (5, TypeError), (b"math", TypeError), ("", ValueError)])
def test_a_service_name_is_text_and_not_empty(name: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="service_name must"):
        Names(name)


@pytest.mark.parametrize(("label", "kind"), [(None, TypeError), (5, TypeError), ("", ValueError)])
def test_a_label_is_text_and_not_empty(label: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="a queue label must"):
        Names("math").label_queue(label)


# AMQP's 255 bytes.

NAMES_OF = [
    pytest.param(lambda text: Names(text).response_exchange, len("rpc__response"), "service_name", id="service"),
    pytest.param(lambda text: Names("m").response_queue(text), len("rpc_m__response"), "client uuid", id="client"),
    pytest.param(lambda text: Names("m").fanout_queue(text), len("rpc_m__request"), "server uuid", id="server"),
    pytest.param(lambda text: Names("m").label_queue(text), len("rpc_m_queue_"), "label 'x", id="label"),
    pytest.param(check_routing_key, 0, "routing_key", id="routing key"),
]


@pytest.mark.parametrize(("name_of", "around", "what"), NAMES_OF)
def test_the_longest_name_is_255_bytes(name_of: Callable[[str], str], around: int, what: str) -> None:
    assert len(name_of("x" * (255 - around))) == 255
    with pytest.raises(ValueError, match=f"{what}.* is too long: .*has 256 bytes, AMQP allows 255"):
        name_of("x" * (256 - around))


def test_names_are_measured_in_utf_8_and_not_in_characters() -> None:
    assert check_routing_key("я" * 127)
    with pytest.raises(ValueError, match="has 256 bytes"):
        check_routing_key("я" * 128)
    with pytest.raises(ValueError, match="has 256 bytes"):
        check_routing_key("😀" * 64)


@pytest.mark.parametrize("key", [None, 5, b"x", ["x"]])
def test_a_routing_key_is_text(key: Any) -> None:
    with pytest.raises(TypeError, match="routing_key must be a str"):
        check_routing_key(key)


@pytest.mark.parametrize("text", ["\ud800", "x\udfffy"])
def test_text_that_utf_8_cannot_carry_is_refused_before_it_is_sent(text: str) -> None:
    with pytest.raises(ValueError, match="routing_key is not Unicode text"):
        check_routing_key(text)
    with pytest.raises(ValueError, match="service_name is not Unicode text"):
        Names(text)
    with pytest.raises(ValueError, match=r"label .* is not Unicode text"):
        Names("math").label_queue(text)


def test_names_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Names("math").namespace = "other"  # type: ignore[misc]


# RabbitMQ strips line breaks from the names of queues that it declares, and not of those that it consumes from.


@pytest.mark.parametrize("character", ["\n", "\r", "\0", "\x1b", "\x7f", "\x85", "\x9b"])
@pytest.mark.parametrize(
    "use",
    [
        lambda name: Names(name),
        lambda name: Names("math", "{label}" + name),
        lambda name: Names("math").label_queue(name),
        lambda name: check_routing_key(name),
        lambda name: uuid_of(name),
        lambda name: remote_name(print, name),
        lambda name: PrettyCaller(lambda *_: None, CALL_OPTIONS)(function_name=name),
    ],
    ids=["service", "template", "label", "routing key", "uuid", "function", "called function"],
)
def test_a_name_with_a_control_character_is_refused(use: Callable[[str], object], character: str) -> None:
    for name in (f"a{character}b", f"ab{character}", character):
        with pytest.raises(ValueError, match="must not contain control characters"):
            use(name)


def test_an_attribute_with_a_control_character_is_no_function() -> None:
    with pytest.raises(AttributeError):
        getattr(PrettyCaller(lambda *_: None, CALL_OPTIONS), "a\nb")


@pytest.mark.parametrize("name", ["Alice Liddell", "\xa0", "\u3000", "👩‍🚀", "\u200b", "\u2028"])
def test_other_characters_that_are_not_seen_are_allowed(name: str) -> None:
    assert check_routing_key(name) == name


def test_an_empty_uuid_is_refused() -> None:
    with pytest.raises(ValueError, match="uuid must not be empty"):
        uuid_of("")
