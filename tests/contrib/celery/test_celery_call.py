"""`celery amphora call` reads values, and ends, as `amphora call` does."""

import json
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from amphora.contrib.celery.commands import call
from tests.contrib.celery.conftest import NewApp

Call = Callable[..., Result]


@pytest.fixture
def run_call(app: Any) -> Iterator[Call]:
    @app.amphora.server.add_function
    def echo(*args: Any, **kwargs: Any) -> Any:
        return [args, kwargs]

    @app.amphora.server.add_function
    def fail() -> None:
        raise KeyError("a")

    def run(*arguments: str, of: Any = app) -> Result:
        program = SimpleNamespace(amphora=of.amphora, echo=click.echo)
        return CliRunner().invoke(call, list(arguments), obj=program)

    with app.amphora.server:
        yield run


@pytest.mark.parametrize("text", ["42", '"42"', "O-42", "NaN", "Infinity", "", "[1, null]", "-1"])
def test_values_are_read_as_by_amphora_call(run_call: Call, text: str) -> None:
    from amphora import parse_value  # noqa: PLC0415  (what is to be compared)

    result = run_call("echo", "--kw", f"named={text}", "--", text)

    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == [[parse_value(text)], {"named": parse_value(text)}]


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("echo", "-k", '{"a": 1}'), 0),
        (("echo", "--no-wait"), 0),
        (("echo", "--cast"), 0),
        (("echo", "--expires", "-t", "30"), 0),
        (("fail",), 1),
        (("missing",), 1),
        (("echo", "--kw", "a"), 2),
        (("echo", "-k", "[]"), 2),
        (("echo", "-k", '{"a": 1}', "--kw", "a=2"), 2),
        (("echo", "-t", "-1"), 2),
        (("echo", "-r", "no_such_label"), 4),
    ],
)
def test_the_exit_status_is_that_of_amphora_call(run_call: Call, arguments: tuple[str, ...], status: int) -> None:
    result = run_call(*arguments)

    assert result.exit_code == status, result.output


def test_a_missing_reply_is_the_exit_status_3(run_call: Call, new_app: NewApp) -> None:
    result = run_call("echo", "-t", "0.1", of=new_app(amphora_service_name="no_server_of_this"))

    assert result.exit_code == 3, result.output
