"""Tuning functions: what they get, and what they may answer."""

from typing import Any

import pytest

from amphora.protocol.routing import Router, TuningFunction


def answering(answer: Any) -> TuningFunction:
    return lambda *_: answer


def routed(answer: Any) -> str:
    router = Router()
    router.tune("f", answering(answer))
    return router.routing_key("f", (), {})


def test_without_a_tuning_function_a_call_goes_to_the_services_own_queue() -> None:
    assert Router().routing_key("f", (1,), {}) == ""


def test_a_tuning_function_gets_arguments_unpacked_neither_way() -> None:
    seen = []
    router = Router()
    router.tune("f", lambda *both: seen.append(both))

    router.routing_key("f", (1, 2), {"x": 3})

    assert seen == [((1, 2), {"x": 3})]


def test_a_tuning_function_is_asked_for_its_own_function_only() -> None:
    router = Router()
    router.tune("f", answering("x"))

    assert (router.routing_key("f", (), {}), router.routing_key("f.g", (), {})) == ("x", "")


def test_a_later_tuning_function_replaces_an_earlier_one() -> None:
    router = Router()
    router.tune("f", answering("early"))
    router.tune("f", answering("late"))

    assert router.routing_key("f", (), {}) == "late"


@pytest.mark.parametrize(
    ("answer", "key"),
    [
        ("Alice", "Alice"),
        ("", ""),
        (None, ""),
        ({"routing_key": "Alice"}, "Alice"),
        ({"routing_key": "Alice", "queue": "ignored"}, "Alice"),
    ],
)
def test_text_a_dict_and_none_are_taken(answer: Any, key: str) -> None:
    assert routed(answer) == key


@pytest.mark.parametrize("answer", [5, b"Alice", ["Alice"], True, {"routing_key": 5}, {"routing_key": None}])
def test_any_other_answer_is_a_type_error_that_names_the_function(answer: Any) -> None:
    with pytest.raises(TypeError, match=r"the tuning function of 'f' returned .*; it must return a routing key"):
        routed(answer)


def test_a_dict_without_routing_key_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="the tuning function of 'f' returned a dict without 'routing_key'"):
        routed({"queue": "Alice"})


def test_a_routing_key_that_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="routing_key is too long"):
        routed("x" * 256)


def test_what_a_tuning_function_raises_comes_out() -> None:
    router = Router()
    router.tune("f", lambda _, kwargs: kwargs["username"])

    with pytest.raises(KeyError, match="username"):
        router.routing_key("f", (), {})


def test_tuning_without_a_name_is_told_how_to_write_it() -> None:
    with pytest.raises(TypeError, match=r"@client\.tune_function\('name'\)"):
        Router().tune(len, answering("x"))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [None, 5, b"f"])
def test_the_name_is_text(name: Any) -> None:
    with pytest.raises(TypeError, match="func_name must be the name of a remote function"):
        Router().tune(name, answering("x"))


def test_a_tuning_function_is_callable() -> None:
    with pytest.raises(TypeError, match="the tuning function of 'f' is not callable: 'Alice'"):
        Router().tune("f", "Alice")  # type: ignore[arg-type]
