"""What `add_function` takes, whoever has one."""

import asyncio
from functools import partial
from typing import Any

import gevent
import pytest

from amphora import add_or_decorate, remote_name


def test_a_function_is_added_and_returned() -> None:
    added: list[Any] = []

    returned = add_or_decorate(lambda *given: added.append(given), abs, None)
    named = add_or_decorate(lambda *given: added.append(given), abs, "absolute")

    assert returned is named is abs
    assert added == [(abs, None), (abs, "absolute")]


@pytest.mark.parametrize("arguments", [("absolute", None), (None, "absolute")])
def test_a_name_alone_gives_a_decorator(arguments: tuple[Any, Any]) -> None:
    added: list[Any] = []

    decorated = add_or_decorate(lambda *given: added.append(given), *arguments)(abs)

    assert decorated is abs
    assert added == [(abs, "absolute")]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((None, None), "needs a function or a name"),
        (("absolute", "other"), r"takes the function first: add_function\(func, name='absolute'\)"),
    ],
)
def test_what_names_no_function_is_refused(arguments: tuple[Any, Any], text: str) -> None:
    with pytest.raises(TypeError, match=text):
        add_or_decorate(print, *arguments)


def test_a_name_that_is_given_goes_before_the_function_s_own() -> None:
    assert remote_name(abs) == "abs"
    assert remote_name(abs, "math.absolute") == "math.absolute"


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ((5,), TypeError, "only a callable can be a remote function, not 5"),
        ((partial(abs, 1),), TypeError, "has no __name__: give it a name"),
        ((abs, 5), TypeError, "the name of a remote function must be a str, not 5"),
        ((abs, ""), ValueError, "must not be empty"),
    ],
)
def test_what_cannot_be_a_remote_function_is_refused(
    arguments: tuple[Any, ...], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        remote_name(*arguments)


async def coroutine_function() -> None: ...


async def asynchronous_generator() -> Any:
    yield


class Called:
    async def __call__(self) -> None: ...


class Server:
    async def method(self) -> None: ...


@pytest.mark.parametrize(
    "function",
    [coroutine_function, asynchronous_generator, partial(coroutine_function), Called(), Server().method],
)
def test_an_asynchronous_function_is_refused_with_what_to_do(function: Any) -> None:
    with pytest.raises(TypeError, match=r"is asynchronous, .* make it a plain function.*threadpool"):
        remote_name(function, "name")


def test_a_plain_function_may_run_asynchronous_code_as_the_error_says() -> None:
    async def answer() -> int:
        await asyncio.sleep(0)
        return 42

    assert gevent.get_hub().threadpool.apply(asyncio.run, (answer(),)) == 42
