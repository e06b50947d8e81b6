"""The exceptions: who is a child of whom, and what a `RemoteException` keeps."""

import copy
import pickle
from collections.abc import Callable

import pytest

from amphora import exceptions
from amphora.exceptions import AmqpRpcException, BrokerError, RemoteException, WrongRequest

BROKER_ERRORS = {
    "AccessRefused",
    "BrokerUnreachable",
    "MessageRejected",
    "MessageTooLarge",
    "PublishNacked",
    "TopologyConflict",
    "VhostNotFound",
}
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
    parents = {name: getattr(exceptions, name).__base__ for name in exceptions.__all__}

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


@pytest.mark.parametrize(
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


@pytest.mark.parametrize("name", sorted(set(exceptions.__all__) - {"RemoteException"}))
def test_every_other_exception_survives_pickling(name: str) -> None:
    error = getattr(exceptions, name)("what", "else")

    twin = pickle.loads(pickle.dumps(error))

    assert (type(twin), twin.args) == (type(error), ("what", "else"))
