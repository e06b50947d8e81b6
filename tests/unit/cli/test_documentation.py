"""docs/cli.md names every command with every option, and none that there is not."""

import re

import click
import pytest

from amphora.cli.program import amphora
from tests.support.processes import ROOT

PAGE = (ROOT / "docs" / "cli.md").read_text()
CONTEXT = click.Context(amphora)
COMMANDS = {name: amphora.get_command(CONTEXT, name) for name in amphora.list_commands(CONTEXT)}
#: A section for each command; the two about dead letters share one.
SECTIONS = {name: "Dead letters" if name.endswith("-dead") else name for name in COMMANDS}
COMMON = PAGE.partition("## What they have in common")[2].partition("\n## ")[0]


def options_of(command: click.Command) -> set[str]:
    shown = [each for each in command.params if isinstance(each, click.Option) and not each.hidden]
    return {next(name for name in each.opts if name.startswith("--")) for each in shown}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_s_section_names_its_options(name: str) -> None:
    section = PAGE.partition(f"\n## {SECTIONS[name]}\n")[2].partition("\n## ")[0]

    assert section
    assert sorted(each for each in options_of(COMMANDS[name]) if each not in section and each not in COMMON) == []


def test_there_are_no_options_but_those_of_the_commands() -> None:
    known = set().union(*map(options_of, COMMANDS.values()), {"--help"})

    assert sorted(set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", PAGE)) - known) == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_its_exit_statuses(name: str) -> None:
    help_of_command = COMMANDS[name].help

    assert help_of_command
    assert "Exit statuses:" in COMMANDS[name].epilog
