"""The options that say which dead letters a command is about."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import click

from amphora.cli.execution import load
from amphora.cli.values import count

__all__ = ["choice_options"]

Command = TypeVar("Command", bound=Callable[..., Any])


def choice_options(command: Command) -> Command:
    """Give a command the options of `amphora.cli.dead_letter_options.Choice`; it gets them as ``choice``."""

    @click.option("-f", "--function", "functions", multiple=True, metavar="NAME", help="Only of it; * and ? match.")
    @click.option("--id", "ids", multiple=True, metavar="ID", help="Only the request with that id.")
    @click.option("--reason", "reasons", multiple=True, metavar="WHY", help="Such as delivery_limit, or expired.")
    @click.option("-n", "--limit", type=count, metavar="N", help="No more than so many, the oldest first.")
    @functools.wraps(command)
    def with_choice(
        functions: tuple[str, ...], ids: tuple[str, ...], reasons: tuple[str, ...], limit: int | None, **others: Any
    ) -> Any:
        choice = load("dead_letter_options").Choice(functions, ids, reasons, limit)
        return command(choice=choice, **others)

    return with_choice  # type: ignore[return-value]
