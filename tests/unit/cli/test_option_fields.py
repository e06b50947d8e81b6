"""Options of the command line that set what clients and servers can be told, and the fields of these options."""

from typing import Any

import click
import pytest

from amphora.cli.program import amphora
from amphora.options.client_options import ClientOptions
from amphora.options.fields import Option, options_of
from amphora.options.server_options import ServerOptions

FIELDS = {**options_of(ServerOptions), **options_of(ClientOptions)}
CONTEXT = click.Context(amphora)
COMMANDS = {name: amphora.get_command(CONTEXT, name) for name in amphora.list_commands(CONTEXT)}
#: Commands with options of the same name that mean something else: those of one call, and of the load.
OF_CALLS = ("bench", "call", "functions", "health", "ping", "queues", "shell", "top")


def options_named(flag: str, *, without: tuple[str, ...] = ()) -> list[click.Option]:
    return [
        each
        for name, command in COMMANDS.items()
        if name not in without
        for each in command.params
        if isinstance(each, click.Option) and flag in each.opts
    ]


@pytest.mark.parametrize("field", [each for each in FIELDS.values() if each.flags], ids=lambda each: each.name)
def test_the_options_that_a_field_names_exist_and_have_its_default(field: Option) -> None:
    for flag in field.flags:
        found = options_named(flag, without=OF_CALLS if flag == "--concurrency" else ())

        assert found
        # Those without a default leave it to the program. The names of serializers are the command line's own.
        defaults = {each.default for each in found if isinstance(each.default, (bool, int, float, str))}
        assert defaults <= {field.default} or flag == "--serializer", flag


@pytest.mark.parametrize("name", ["serve", "doctor"])
def test_an_option_that_is_called_as_a_field_is_named_by_it(name: str) -> None:
    for each in COMMANDS[name].params:
        field = FIELDS.get(each.name or "")
        if field is not None:
            assert set(each.opts) & set(field.flags), each.name


def test_the_types_of_queues_that_can_be_chosen_are_those_of_the_field() -> None:
    [found] = options_named("--queue-type")
    check = FIELDS["queue_type"].check

    kind: Any = found.type
    assert [check("queue_type", each) for each in kind.choices] == list(kind.choices)
