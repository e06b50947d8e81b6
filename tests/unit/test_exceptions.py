"""The exceptions: who is a child of whom, and what a `RemoteException` keeps."""

import copy
import inspect
import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from amphora import exceptions
from amphora.exceptions import AmqpRpcException, BrokerError, NoResult, RemoteException, RequestStage, WrongRequest
from tests.unit.exceptions_across_processes import described, examples

EXCEPTIONS = sorted(set(exceptions.__all__) - {"RequestStage"})

BROKER_ERRORS = {
    "AccessRefused",
    "BrokerUnreachable",
    "MessageRejected",
    "MessageTooLarge",
    "PublishNacked",
    "TopologyConflict",
    "VhostNotFound",
}
COPIES = pytest.mark.parametrize(
    "copy_of",
    [
        pytest.param(copy.copy, id="copy"),
        pytest.param(copy.deepcopy, id="deepcopy"),
        *(
            pytest.param(lambda error, p=p: pickle.loads(pickle.dumps(error, p)), id=f"pickle protocol {p}")
            for p in range(pickle.HIGHEST_PROTOCOL + 1)
        ),
    ],
)

CALL_ERRORS = {
    "Backlogged",
    "BrokerError",
    "DeadLettered",
    "IgnoreRequest",
    "NoResult",
    "RemoteException",
    "Unroutable",
    "WrongRequest",
    "WrongResult",
}


def test_every_exception_is_in_its_place_under_the_one_root() -> None:
    parents = {name: getattr(exceptions, name).__base__ for name in EXCEPTIONS}

    assert parents == {
        "AmqpRpcException": Exception,
        **dict.fromkeys(CALL_ERRORS, AmqpRpcException),
        "Forbidden": WrongRequest,
        **dict.fromkeys(BROKER_ERRORS, BrokerError),
    }


def test_a_remote_exception_prints_like_the_remote_one() -> None:
    assert str(RemoteException("TypeError", ["unsupported operand"])) == "TypeError: unsupported operand"


def test_a_remote_exception_without_arguments_prints_its_type_alone() -> None:
    assert str(RemoteException("KeyboardError", [])) == "KeyboardError"


def test_a_remote_exception_with_several_arguments_prints_all_of_them() -> None:
    assert str(RemoteException("ValueError", ("x", -5))) == "ValueError: ('x', -5)"


def test_a_remote_exception_prints_text_beyond_ascii() -> None:
    assert str(RemoteException("Ошибка", ["привет"])) == "Ошибка: привет"


def test_a_remote_exception_keeps_type_and_arguments() -> None:
    error = RemoteException("ValueError", ["x", -5])

    assert (error.error_type, error.args, error.remote_traceback) == ("ValueError", ("x", -5), None)


def test_a_remote_exception_shows_type_and_arguments_in_its_repr() -> None:
    assert repr(RemoteException("ValueError", ["x", -5])) == "RemoteException('ValueError', ('x', -5))"


@COPIES
def test_a_copied_or_pickled_remote_exception_is_the_same(
    copy_of: Callable[[RemoteException], RemoteException],
) -> None:
    error = RemoteException("ValueError", ["x", {"y": [1]}], "Traceback ...")

    twin = copy_of(error)

    assert type(twin) is RemoteException
    assert (twin.error_type, twin.args, twin.remote_traceback, str(twin)) == (
        "ValueError",
        ("x", {"y": [1]}),
        "Traceback ...",
        str(error),
    )


def test_a_deep_copy_shares_no_argument() -> None:
    error = RemoteException("ValueError", [["x"]])

    twin = copy.deepcopy(error)

    assert twin.args[0] == error.args[0]
    assert twin.args[0] is not error.args[0]


@COPIES
@pytest.mark.parametrize("error", examples(), ids=lambda error: type(error).__name__)
def test_a_copied_or_pickled_exception_keeps_its_arguments_and_attributes(
    error: AmqpRpcException, copy_of: Callable[[Any], Any]
) -> None:
    assert described(copy_of(error)) == described(error)


def test_there_is_an_example_of_every_exception_with_a_value_for_each_of_its_attributes() -> None:
    assert sorted(type(each).__name__ for each in examples()) == EXCEPTIONS
    for each in examples():
        taken = {
            parameter.name
            for cls in type(each).__mro__
            if issubclass(cls, AmqpRpcException) and "__init__" in vars(cls)
            for parameter in inspect.signature(cls.__init__).parameters.values()
            if parameter.kind is parameter.KEYWORD_ONLY
        }
        assert {name for name in taken if getattr(each, name) in (None, False)} == set()


def test_exceptions_keep_everything_on_their_way_through_a_pool_of_processes() -> None:
    program = Path(__file__).with_name("exceptions_across_processes.py")
    done = subprocess.run([sys.executable, program], check=True, capture_output=True, text=True, timeout=60)

    assert json.loads(done.stdout) == [[repr(described(each))] * 2 for each in examples()]


@COPIES
def test_the_exception_of_a_further_call_stays_the_cause(copy_of: Callable[[Any], Any]) -> None:
    error = RemoteException("RemoteException", ["KeyError: x"])
    error.__cause__ = RemoteException("KeyError", ["x"])

    cause = copy_of(error).__cause__

    assert (type(cause), cause.error_type, cause.args) == (RemoteException, "KeyError", ("x",))


def test_a_subclass_of_a_user_that_does_not_call_the_constructor_has_every_attribute() -> None:
    class Late(NoResult):
        def __init__(self, text: str) -> None:
            Exception.__init__(self, text)

    late = Late("x")

    assert (late.stage, late.function, late.request_id, late.timeout) == (None,) * 4


def test_an_exception_says_nothing_of_what_it_was_not_told() -> None:
    assert (NoResult().stage, NoResult().timeout, BrokerError().reply_code) == (None, None, None)


def test_a_stage_is_one_of_three() -> None:
    assert [each.name for each in RequestStage] == ["NOT_SENT", "SENT", "CONFIRMED"]
