"""What is told of whatever can be a remote function."""

from functools import partial

import pytest

from amphora import FunctionDescription, describe_function


class Callable:
    def __call__(self, x: int, *, y: int = 1) -> None:
        """Do it.

        And more.
        """


class Plain:
    def __init__(self, x: int) -> None:
        self.x = x


def test_a_function_is_described_by_its_parameters_and_its_docstring() -> None:
    def add(x, y=1):  # type: ignore[no-untyped-def]
        """Add two numbers."""

    assert describe_function(add) == FunctionDescription("(x, y=1)", "Add two numbers.", __name__)


def test_an_object_is_described_by_what_it_does_when_it_is_called() -> None:
    described = describe_function(Callable())

    assert described == FunctionDescription("(x: int, *, y: int = 1) -> None", "Do it.\n\nAnd more.", __name__)
    assert described.summary == "Do it."


def test_a_partial_is_described_by_what_it_calls_and_by_what_is_left_to_give() -> None:
    described = describe_function(partial(Callable(), 1))

    assert described == FunctionDescription("(*, y: int = 1) -> None", "Do it.\n\nAnd more.", __name__)


@pytest.mark.parametrize(("function", "signature"), [(dict, "(...)"), (Plain, "(x: int) -> None"), (abs, "(x, /)")])
def test_classes_and_what_is_written_in_c_are_described_as_far_as_python_knows(function: type, signature: str) -> None:
    assert describe_function(function).signature == signature


def test_nothing_is_told_of_what_has_no_docstring() -> None:
    assert describe_function(lambda: None) == FunctionDescription("()", "", __name__)
    assert describe_function(lambda: None).summary == ""


def test_annotations_are_shown_as_they_are_written() -> None:
    def annotated(x: "list[Order]", y: int = 1) -> "Total":  # type: ignore[name-defined]  # noqa: F821
        """Do nothing."""

    assert describe_function(annotated).signature == "(x: list[Order], y: int = 1) -> Total"
