"""Help and completion import nothing that only the execution of a command needs."""

import os
import subprocess
import sys

import click
import pytest

from amphora.cli.execution import executed_by
from amphora.cli.program import amphora

COMMANDS = amphora.list_commands(click.Context(amphora))

PROGRAM = """
import sys
from amphora.cli import entry
sys.argv[0] = "amphora"
try:
    entry.main()
finally:
    heavy = {"gevent", "kombu", "amqp", "rich", "msgspec"} & set(sys.modules)
    print("imported", *sorted(heavy), file=sys.stderr)
"""


def run(*arguments: str, **variables: str) -> tuple[str, str]:
    """Return what the program prints, and which heavy packages it imports."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("_AMPHORA", "COV_"))}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        env={**environment, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.stdout, done.stderr.strip()


def complete(line: str) -> tuple[str, str]:
    return run(_AMPHORA_COMPLETE="bash_complete", COMP_WORDS=line, COMP_CWORD=str(line.count(" ")))


@pytest.mark.parametrize("name", COMMANDS)
def test_completion_of_the_options_of_a_command_imports_no_heavy_package(name: str) -> None:
    completed, imported = complete(f"amphora {name} --")

    assert "plain,--help" in completed.splitlines()
    assert imported == "imported"


def test_completion_of_the_name_of_a_command_imports_no_heavy_package() -> None:
    assert complete("amphora requ") == ("plain,requeue-dead\n", "imported")


def test_help_imports_no_heavy_package() -> None:
    printed, imported = run("--help")

    assert "Exit statuses of all commands" in printed
    assert imported == "imported"


def test_a_command_is_executed_by_the_module_of_its_name() -> None:
    """With all that its arguments were given, and under its own name and docstring."""
    called = []
    module = sys.modules["amphora.cli.of_this_test"] = type(sys)("of_this_test")
    module.run = lambda *args, **values: called.append((args, values))  # type: ignore[attr-defined]

    @executed_by("of_this_test")
    def command(*args: object, **values: object) -> None:
        """Do it."""

    try:
        command(1, two=2)
    finally:
        del sys.modules["amphora.cli.of_this_test"]

    assert called == [((1,), {"two": 2})]
    assert (command.__name__, command.__doc__) == ("command", "Do it.")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_takes_the_parameters_that_its_execution_has(name: str) -> None:
    """One that is missing on either side would be noticed only when the command is called."""
    command = amphora.get_command(click.Context(amphora), name)
    assert command is not None
    module = __import__(f"amphora.cli.{name.replace('-', '_')}", fromlist=["run"])
    taken = set(module.run.__annotations__) - {"return", "context", "service", "choice"}
    made_elsewhere = {"namespace", "verbose", *_OF_SERVICE, *_OF_CHOICE}

    given = {each.name for each in command.params if each.expose_value}

    if "service" in module.run.__annotations__:
        given -= made_elsewhere - taken
    assert given == taken


_OF_SERVICE = ("broker", "fanout", "connect_timeout", "serializer", "signing_key_file", "max_received_size", "identify")
_OF_CHOICE = ("functions", "ids", "reasons", "limit")
