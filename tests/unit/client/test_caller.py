"""`PrettyCaller`: names and options into one call, without a client."""

from typing import Any

import pytest

from amphora.client.caller import CallOptions, PrettyCaller

ALLOWED = ("function_name", "timeout", "routing_key", "wait_publish")

Invocation = tuple[str, CallOptions, tuple[Any, ...], dict[str, Any]]


class Invoked:
    """Keeps what it was invoked with."""

    def __init__(self) -> None:
        self.calls: list[Invocation] = []

    def __call__(self, *call: Any) -> str:
        self.calls.append(call)
        return "outcome"


@pytest.fixture
def invoked() -> Invoked:
    return Invoked()


@pytest.fixture
def caller(invoked: Invoked) -> PrettyCaller:
    return PrettyCaller(invoked, ALLOWED)


def test_an_attribute_names_the_function(caller: PrettyCaller, invoked: Invoked) -> None:
    outcome = caller.add(1, y=2)

    assert outcome == "outcome"
    assert invoked.calls == [("add", {}, (1,), {"y": 2})]


def test_attributes_of_attributes_make_a_dotted_name(caller: PrettyCaller, invoked: Invoked) -> None:
    caller.send_message.email.html()

    assert invoked.calls == [("send_message.email.html", {}, (), {})]


def test_function_name_names_the_function_dots_and_all(caller: PrettyCaller, invoked: Invoked) -> None:
    caller(function_name="send_message.email")("root", text="Hello")

    assert invoked.calls == [("send_message.email", {}, ("root",), {"text": "Hello"})]


def test_attributes_after_function_name_lengthen_it(caller: PrettyCaller, invoked: Invoked) -> None:
    caller(function_name="send_message").email()

    assert invoked.calls[0][0] == "send_message.email"


def test_options_come_before_the_name(caller: PrettyCaller, invoked: Invoked) -> None:
    caller(timeout=5, routing_key="x").add(1)

    assert invoked.calls == [("add", {"timeout": 5, "routing_key": "x"}, (1,), {})]


def test_later_options_are_added_to_earlier_ones(caller: PrettyCaller, invoked: Invoked) -> None:
    caller(timeout=5, routing_key="x")(timeout=6).add()

    assert invoked.calls[0][1] == {"timeout": 6, "routing_key": "x"}


def test_keyword_arguments_of_a_named_function_are_no_options(caller: PrettyCaller, invoked: Invoked) -> None:
    caller.add(timeout=5, unknown=6)

    assert invoked.calls == [("add", {}, (), {"timeout": 5, "unknown": 6})]


def test_a_caller_stays_as_it_is_when_others_are_made_of_it(caller: PrettyCaller, invoked: Invoked) -> None:
    sender = caller(timeout=5).send_message

    sender.email("a")
    caller(timeout=6).other()
    sender.sms("b")
    sender("c")

    assert [(name, options, args) for name, options, args, _ in invoked.calls] == [
        ("send_message.email", {"timeout": 5}, ("a",)),
        ("other", {"timeout": 6}, ()),
        ("send_message.sms", {"timeout": 5}, ("b",)),
        ("send_message", {"timeout": 5}, ("c",)),
    ]


def test_the_options_given_can_be_changed_afterwards_without_effect(caller: PrettyCaller, invoked: Invoked) -> None:
    options = {"timeout": 5}
    kept = caller(**options)
    options["timeout"] = 6

    kept.add()

    assert invoked.calls[0][1] == {"timeout": 5}


def test_attributes_cannot_be_set(caller: PrettyCaller) -> None:
    with pytest.raises(AttributeError):
        caller.timeout = 5  # type: ignore[attr-defined]


def test_arguments_without_a_function_name_are_a_helpful_type_error(caller: PrettyCaller, invoked: Invoked) -> None:
    with pytest.raises(TypeError, match=r"no remote function is named: write client\.call\.name\(\.\.\.\)"):
        caller("http://example.com")

    assert invoked.calls == []


@pytest.mark.parametrize(
    ("wrong", "right"),
    [("time_out", "timeout"), ("timout", "timeout"), ("routingkey", "routing_key"), ("function", "function_name")],
)
def test_an_unknown_option_is_told_with_the_nearest_right_one(caller: PrettyCaller, wrong: str, right: str) -> None:
    with pytest.raises(TypeError, match=f"unknown option '{wrong}'; did you mean '{right}'"):
        caller(**{wrong: 1})


def test_an_option_unlike_any_is_told_with_all_right_ones(caller: PrettyCaller) -> None:
    with pytest.raises(TypeError, match=r"unknown option 'zzz' \(options: function_name, timeout, routing_key, wait_"):
        caller(zzz=1)


def test_a_function_name_that_is_no_text_is_a_type_error(caller: PrettyCaller) -> None:
    with pytest.raises(TypeError, match="function_name must be a str, not 5"):
        caller(function_name=5)


@pytest.mark.parametrize("name", ["_private", "__len__", "__wrapped__", "_"])
def test_underscored_attributes_are_no_remote_functions(caller: PrettyCaller, name: str) -> None:
    with pytest.raises(AttributeError, match=f"use function_name='{name}'"):
        getattr(caller, name)


def test_an_underscored_function_can_be_called_by_function_name(caller: PrettyCaller, invoked: Invoked) -> None:
    caller(function_name="_private")()

    assert invoked.calls[0][0] == "_private"


def test_a_caller_shows_its_name_and_options(caller: PrettyCaller) -> None:
    assert repr(caller) == "<PrettyCaller (no function yet)>"
    assert repr(caller(timeout=5).a.b) == "<PrettyCaller a.b timeout=5>"
