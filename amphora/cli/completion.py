"""``amphora completion``: print what a shell needs to complete the command's words."""

from __future__ import annotations

import os
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from amphora.cli.exit_codes import BadArguments

__all__ = ["run"]

_SHELLS = ("bash", "zsh", "fish")


def run(context: click.Context, shell: str | None) -> None:
    """Print the completion for SHELL; by default, for the one in the variable SHELL."""
    name = shell or Path(os.environ.get("SHELL", "")).name
    completion = get_completion_class(name) if name in _SHELLS else None
    if completion is None:
        raise BadArguments(f"name the shell: {', '.join(_SHELLS)}")
    program = context.find_root().command
    source = completion(program, {}, "amphora", "_AMPHORA_COMPLETE").source()
    # click's script for fish cuts descriptions off at their first comma.
    click.echo(source.replace('string split "," ', 'string split --max 1 "," '))
