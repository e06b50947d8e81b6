"""`bind`: remote functions as methods of a class."""

from typing import Any, Protocol

import pytest

from amphora.client.bound import bind
from amphora.client.caller import PrettyCaller


class Text(Protocol):
    def upper(self, text: str) -> str: ...


class Math(Protocol):
    text: Text
    count: "int | None"

    def add(self, x: int, y: int = 1) -> int: ...

    def _own(self) -> None: ...


@pytest.fixture
def calls() -> list[Any]:
    return []


@pytest.fixture
def math(calls: list[Any]) -> Any:
    return bind(PrettyCaller(lambda *call: calls.append(call), ("timeout",)), Math)


def test_methods_call_the_functions_of_their_names(math: Any, calls: list[Any]) -> None:
    math.add(1, y=2)
    math.text.upper("a")

    assert calls == [("add", {}, (1,), {"y": 2}), ("text.upper", {}, ("a",), {})]
    assert math.add is math.add


def test_what_the_class_does_not_have_is_no_function(math: Any) -> None:
    for name in ("subtract", "count", "_own", "__len__"):
        with pytest.raises(AttributeError, match=f"Math has no remote function '{name}'"):
            getattr(math, name)
    with pytest.raises(AttributeError, match="Text has no remote function 'lower'"):
        getattr(math.text, "lower")  # noqa: B009  (nobody uses what it gives)


def test_it_lists_its_functions(math: Any) -> None:
    assert dir(math) == ["add", "text"]
    assert repr(math) == "<Math by <PrettyCaller (no function yet)>>"


@pytest.mark.parametrize("wrong", ["Math", None, Math.add])
def test_only_a_class_can_be_bound(wrong: Any) -> None:
    with pytest.raises(TypeError, match="bind takes a class"):
        bind(PrettyCaller(print, ()), wrong)


def test_a_coroutine_function_is_refused_by_name() -> None:
    class Wrong:
        async def add(self, x: int) -> None: ...

    with pytest.raises(TypeError, match=r"Wrong\.add is a coroutine function"):
        bind(PrettyCaller(print, ()), Wrong)
