"""The registry: functions by name, and what became of a request."""

import functools
from typing import Any

import gevent
import pytest

from amphora import require_user
from amphora.exceptions import Forbidden, IgnoreRequest, RemoteException, WrongRequest
from amphora.protocol.messages import Request
from amphora.server.registry import Ignored, Raised, Registry, Returned


def add(x: int, y: int = 10) -> int:
    return x + y


def execute(registry: Registry, name: str, *args: Any, **kwargs: Any) -> Returned | Raised | Ignored:
    return registry.execute(Request(name, list(args), kwargs))


def raising(error: BaseException) -> Registry:
    registry = Registry()

    def boom() -> None:
        raise error

    registry.add(boom)
    return registry


@pytest.fixture
def registry() -> Registry:
    return Registry()


# Names.


def test_a_function_has_its_own_name_by_default(registry: Registry) -> None:
    registry.add(add)

    assert registry.functions == {"add": add}


@pytest.mark.parametrize("name", ["sum", "math.sum", "сумма", "__len__", "not an identifier"])
def test_a_function_can_have_any_name(registry: Registry, name: str) -> None:
    registry.add(add, name)

    assert execute(registry, name, 1, 2) == Returned(3)


def test_one_function_may_have_several_names(registry: Registry) -> None:
    registry.add(add)
    registry.add(add, "sum")

    assert set(registry.functions) == {"add", "sum"}


def test_adding_a_function_twice_changes_nothing(registry: Registry) -> None:
    registry.add(add)
    registry.add(add)

    assert registry.functions == {"add": add}


def test_a_second_function_under_one_name_is_refused(registry: Registry) -> None:
    registry.add(add)

    with pytest.raises(ValueError, match="there is already a remote function 'add': <function add"):
        registry.add(max, "add")
    assert registry.functions == {"add": add}


def test_bound_methods_lambdas_and_partials_can_be_remote(registry: Registry) -> None:
    registry.add([3, 4].index)
    registry.add(lambda: "lambda", "lambda")
    registry.add(functools.partial(add, 1), "partial")

    assert execute(registry, "index", 4) == Returned(1)
    assert execute(registry, "lambda") == Returned("lambda")
    assert execute(registry, "partial", 2) == Returned(3)


def test_a_callable_without_a_name_of_its_own_has_to_be_given_one(registry: Registry) -> None:
    with pytest.raises(TypeError, match="has no __name__: give it a name"):
        registry.add(functools.partial(add, 1))


@pytest.mark.parametrize("wrong", [None, 5, "add"])
def test_only_a_callable_can_be_remote(registry: Registry, wrong: Any) -> None:
    with pytest.raises(TypeError, match=f"only a callable can be a remote function, not {wrong!r}"):
        registry.add(wrong, "name")


@pytest.mark.parametrize(("name", "kind"), [(5, TypeError), (b"add", TypeError), ("", ValueError)])
def test_a_name_is_text_and_not_empty(registry: Registry, name: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="the name of a remote function must"):
        registry.add(add, name)


def test_the_functions_given_out_are_a_copy(registry: Registry) -> None:
    registry.add(add)

    registry.functions.clear()

    assert registry.functions == {"add": add}


# Running.


def test_arguments_reach_the_function_as_they_are(registry: Registry) -> None:
    registry.add(lambda *args, **kwargs: (args, kwargs), "echo")

    assert execute(registry, "echo", 1, [2], x={"y": 3}) == Returned(((1, [2]), {"x": {"y": 3}}))


def test_what_is_no_function_is_a_wrong_request_as_0_1_3_words_it(registry: Registry) -> None:
    outcome = execute(registry, "nope")

    assert isinstance(outcome, Raised)
    assert isinstance(outcome.error, WrongRequest)
    assert outcome.error.args == ("No function nope defined",)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x", -5),
        RemoteException("E", ["of a further call"]),
        gevent.Timeout(1),
        SystemExit(1),
        BaseException("base"),
        StopIteration(5),
        RecursionError("deep"),
        MemoryError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_whatever_a_function_raises_is_a_value(error: BaseException) -> None:
    assert raising(error).execute(Request("boom", [], {})) == Raised(error)


def test_wrong_arguments_are_a_type_error_of_the_function(registry: Registry) -> None:
    registry.add(add)

    outcome = execute(registry, "add", 1, 2, 3)

    assert isinstance(outcome, Raised)
    assert type(outcome.error) is TypeError
    assert "takes from 1 to 2 positional arguments but 3 were given" in str(outcome.error)


def test_an_ignored_request_is_neither_returned_nor_raised() -> None:
    assert raising(IgnoreRequest("not me")).execute(Request("boom", [], {})) == Ignored()


def test_what_ends_the_program_passes_through() -> None:
    with pytest.raises(KeyboardInterrupt):
        raising(KeyboardInterrupt()).execute(Request("boom", [], {}))


def test_an_exception_that_is_returned_is_a_result(registry: Registry) -> None:
    error = ValueError("x")
    registry.add(lambda: error, "f")

    assert execute(registry, "f") == Returned(error)


# What runs around them.


def test_what_surrounds_functions_runs_around_each_the_first_outermost(registry: Registry) -> None:
    steps: list[str] = []

    def around(name: str) -> Any:
        def run(call: Any) -> Any:
            steps.append(f"{name} in")
            result = call() + 1
            steps.append(f"{name} out")
            return result

        return run

    registry.add(add)
    registry.surround(around("first"))
    registry.surround(around("second"))

    assert execute(registry, "add", 1, y=2) == Returned(5)
    assert steps == ["first in", "second in", "second out", "first out"]


def test_what_surrounds_a_function_sees_its_exception_and_may_raise_another() -> None:
    registry = raising(ValueError("inner"))

    def around(call: Any) -> Any:
        try:
            return call()
        except ValueError as error:
            raise KeyError("outer") from error

    registry.surround(around)
    outcome = execute(registry, "boom")

    assert isinstance(outcome, Raised)
    assert repr(outcome.error) == "KeyError('outer')"


def test_what_surrounds_functions_may_ignore_the_request(registry: Registry) -> None:
    def around(call: Any) -> Any:
        raise IgnoreRequest

    registry.add(add)
    registry.surround(around)

    assert execute(registry, "add", 1) == Ignored()


def test_nothing_runs_around_a_function_that_does_not_exist(registry: Registry) -> None:
    registry.surround(lambda _: pytest.fail("it ran"))

    assert isinstance(execute(registry, "nothing"), Raised)


# Users.


@pytest.mark.parametrize(("user", "allowed"), [("shop", True), ("backoffice", True), ("Shop", False), (None, False)])
def test_a_function_for_certain_users_runs_for_them_alone(registry: Registry, user: str | None, allowed: bool) -> None:
    runs: list[int] = []
    refund = require_user("shop", "backoffice")(runs.append)
    registry.add(refund, "refund")
    registry.surround(lambda call: call() if allowed else pytest.fail("middleware ran"))

    outcome = registry.execute(Request("refund", [5], {}), user)

    assert runs == ([5] if allowed else [])
    if not allowed:
        assert isinstance(outcome, Raised)
        assert type(outcome.error) is Forbidden
        assert outcome.refused


@pytest.mark.parametrize("user", ["shop", None])
def test_other_functions_run_for_anybody(registry: Registry, user: str | None) -> None:
    registry.add(require_user("backoffice")(add), "refund")
    registry.add(add)

    assert registry.execute(Request("add", [1], {}), user) == Returned(11)


def test_a_function_that_does_not_exist_is_refused_and_one_that_raises_is_not(registry: Registry) -> None:
    registry.add(require_user("shop")(add), "refund")

    missing = registry.execute(Request("missing", [], {}), "shop")
    assert isinstance(missing, Raised)
    assert missing.refused
    assert raising(WrongRequest("inner")).execute(Request("boom", [], {})).refused is False  # type: ignore[union-attr]


def test_the_users_of_two_restrictions_are_those_in_both(registry: Registry) -> None:
    registry.add(require_user("shop", "admin")(require_user("shop", "backoffice")(add)), "add")

    assert registry.execute(Request("add", [1], {}), "shop") == Returned(11)
    for user in ("admin", "backoffice"):
        assert isinstance(registry.execute(Request("add", [1], {}), user), Raised)


@pytest.mark.parametrize("users", [(), (add,), (["shop"],), (None,)])
def test_users_are_named_by_text(users: Any) -> None:
    with pytest.raises(TypeError, match="require_user takes the names of users"):
        require_user(*users)


def test_the_name_of_a_user_is_not_empty() -> None:
    with pytest.raises(ValueError, match="must not be empty"):
        require_user("")


def test_a_restricted_function_can_be_called_within_the_program_and_looks_the_same() -> None:
    restricted = require_user("shop")(add)

    assert restricted(1, y=2) == 3
    assert restricted.__name__ == "add"
