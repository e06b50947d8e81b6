"""Completes arguments whose values only servers know."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem

from amphora.cli.execution import load

__all__ = ["complete_function"]


def complete_function(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001  (click's signature)
    """Return the functions of the service on the command line that begin so; see `amphora.cli.function_names`."""
    if not context.params.get("namespace"):
        return []
    found: list[CompletionItem] = load("function_names").complete_function(context, incomplete)
    return found
