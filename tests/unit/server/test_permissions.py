"""`require_user` outside of a request, and what it takes; with requests, tests/integration has it."""

from typing import Any

import pytest

from amphora.server.permissions import require_user
from amphora.server.registry import USERS


def refund(order: int, *, fast: bool = False) -> tuple[int, bool]:
    """Pay back."""
    return order, fast


@pytest.mark.parametrize("users", [(), (refund,), ("shop", None), (b"shop",), (1,)])
def test_what_is_no_name_is_refused_when_the_decorator_is_applied(users: Any) -> None:
    with pytest.raises(TypeError, match="require_user takes the names of users"):
        require_user(*users)


def test_an_empty_name_is_refused() -> None:
    """Requests without a user must not pass for those of a user without a name."""
    with pytest.raises(ValueError, match="must not be empty"):
        require_user("shop", "")


def test_a_call_within_the_program_is_not_restricted() -> None:
    assert require_user("shop")(refund)(7, fast=True) == (7, True)


def test_the_function_keeps_its_name_and_its_docstring() -> None:
    guarded = require_user("shop")(refund)

    assert (guarded.__name__, guarded.__doc__) == ("refund", "Pay back.")


def test_two_decorators_allow_only_the_users_that_both_name() -> None:
    guarded = require_user("shop", "backoffice")(require_user("shop", "audit")(refund))

    assert getattr(guarded, USERS) == {"shop"}


def test_the_function_itself_stays_unrestricted() -> None:
    require_user("shop")(refund)

    assert not hasattr(refund, USERS)
