"""Values as they are typed on a command line."""

import pytest

from amphora import parse_keyword_arguments, parse_value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("42", 42),
        ("-1.5e3", -1500.0),
        ('"42"', "42"),
        ("true", True),
        ("null", None),
        ('{"a": [1, "b"]}', {"a": [1, "b"]}),
        ("O-42", "O-42"),
        ("True", "True"),
        ("NaN", "NaN"),
        ("-Infinity", "-Infinity"),
        ("", ""),
        ("{unfinished", "{unfinished"),
        ("grüße 🐢", "grüße 🐢"),
        ("[" * 100_000, "[" * 100_000),
        ("1" * 5_000, "1" * 5_000),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_a_value_is_json_or_else_text(text, value):
    assert parse_value(text) == value
    assert type(parse_value(text)) is type(value)


def test_keyword_arguments_have_names_and_values():
    assert parse_keyword_arguments(["a=1", "b=x=y", "c="]) == {"a": 1, "b": "x=y", "c": ""}


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (["a"], "written NAME=VALUE, not 'a'"),
        (["=1"], "written NAME=VALUE, not '=1'"),
        (["a=1", "a=2"], "'a' is given"),
    ],
)
def test_a_keyword_argument_that_is_none_is_refused(given, text):
    with pytest.raises(ValueError, match=text):
        parse_keyword_arguments(given)
