"""The arguments of ``amphora completion``."""

from __future__ import annotations

from typing import Any

import click

from amphora.cli.execution import executed_by

__all__ = ["command"]

_SHELLS = ("bash", "zsh", "fish")

_EPILOG = """\
\b
For good:
  bash   amphora completion bash >> ~/.bashrc
  zsh    amphora completion zsh >> ~/.zshrc       (after compinit)
  fish   amphora completion fish > ~/.config/fish/completions/amphora.fish

\b
Exit statuses:
  0    printed
  2    no such shell
"""


@click.command("completion", epilog=_EPILOG)
@click.argument("shell", type=click.Choice(_SHELLS), required=False)
@click.pass_context
@executed_by("completion")
def command(*args: Any, **values: Any) -> None:
    """Print the completion for SHELL; by default, for the one in the variable SHELL."""
