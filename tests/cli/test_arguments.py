"""What is wrong on a command line is said before anything is done."""

import pytest

import amphora
from amphora import parse_value
from amphora.cli.values import parse_keyword_arguments
from tests.cli.conftest import Invoke


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("42", 42),
        ('"42"', "42"),
        ("O-42", "O-42"),
        ("NaN", "NaN"),
        ("", ""),
        ("null", None),
        ('{"a": [1]}', {"a": [1]}),
        ("{", "{"),
        ("[" * 100_000, "[" * 100_000),
    ],
)
def test_a_value_is_json_or_else_text(text, value):
    assert parse_value(text) == value


def test_keyword_arguments_are_name_and_value():
    assert parse_keyword_arguments(["a=1", "b=x=y", "c="]) == {"a": 1, "b": "x=y", "c": ""}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["call", "math", "add", "--kw", "novalue"], "NAME=VALUE, not 'novalue'"),
        (["call", "math", "add", "--kw", "a=1", "--kw", "a=2"], "'a' is given twice"),
        (["call", "math", "add", "--timeout", "soon"], "a number of seconds"),
        (["call", "math", "add", "--broker", "memory://"], "within one process"),
        (["call", "math", "add", "--broker", "http://u:secret@h"], "must begin with amqp://"),
        (["call", "", "add"], "service_name must not be empty"),
        (["ping", "math", "-c", "0"], "0 is not in the range"),
        (["queues", "math", "--all"], "--all needs --management"),
        (["queues", "math", "--fanout"], "only --management tells of"),
        (["queues", "math", "--management", "ftp://u:secret@h"], "http://127.0.0.1:15672"),
        (["queues", "math", "--management", "http://u:secret@h:port"], "cannot be read"),
        (["purge-dead", "math"], "pass --yes"),
        (["serve", "a:b", "c:d", "--queue", "x"], "--queue goes with one TARGET"),
        (["serve", "a:b", "--reload-dir", "."], "goes with --reload"),
        (["serve", "a:b", "--broker", "amqp://u:secret/x@h"], "cannot be read"),
        (["serve", "shop.py"], "package.module:attribute"),
        (["serve", "there_is_no_such_module"], "no module 'there_is_no_such_module'"),
        (["serve", "json:dumps.nothing"], "has no 'dumps.nothing', nor any other server"),
        (["serve", "json"], "has no server"),
        (["serve", "string:digits"], "is no server, but a str"),
        (["serve", "os:getpid"], "made no server, but a int"),
        (["nonsense"], "No such command 'nonsense'.\n"),
        (["serv"], "No such command 'serv'. Did you mean 'serve'?"),
        (["ping", "math", "--timeot", "1"], "No such option"),
    ],
)
def test_wrong_arguments_end_with_status_2_and_show_no_password(invoke: Invoke, arguments, said):
    result = invoke(*arguments)

    assert result.exit_code == 2, result.output
    assert said in result.output
    assert "secret" not in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize("arguments", [[], ["call"], ["serve"], ["requeue-dead"], ["doctor"]])
def test_help_names_the_exit_statuses(invoke: Invoke, arguments):
    result = invoke(*arguments, "--help")

    assert result.exit_code == 0
    assert "Exit statuses" in result.output
    assert "AMPHORA_BROKER_URL" in result.output


def test_the_version_is_said(invoke: Invoke):
    assert invoke("--version").output == f"amphora {amphora.__version__}\n"


def test_without_arguments_there_is_help(invoke: Invoke):
    result = invoke()

    assert result.exit_code == 2
    assert "Commands:\n" in result.output


def test_every_command_that_is_listed_has_help(invoke: Invoke):
    listed = invoke("--help").output.partition("Commands:\n")[2].partition("\n\n")[0]
    names = [line.split()[0] for line in listed.splitlines() if line.startswith("  ") and line[2] != " "]

    assert len(names) == 13
    for name in names:
        result = invoke(name, "--help")
        assert result.exit_code == 0, name
        # click's runner has a terminal 80 columns wide.
        assert [line for line in result.output.splitlines() if len(line) > 80] == []


def test_help_shows_what_is_common_to_commands_apart(invoke: Invoke):
    own, _, common = invoke("ping", "--help").output.partition("\nBroker and service:\n")

    assert "--interval" in own
    assert "--broker" not in own
    assert "--broker" in common
    assert "--tls-ca" in common
