"""``manage.py rpc_functions``: list the project's remote functions."""

from __future__ import annotations

import json
import shutil
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from amphora.contrib.django.conf import service, services
from amphora.contrib.django.functions import ListedFunction, remote_functions
from amphora.contrib.django.streams import exiting_on_broken_pipe, open_closed_streams

#: Names of the columns.
_HEADINGS = ("NAME", "SIGNATURE", "DESCRIPTION", "MODULE")


class Command(BaseCommand):
    """Lists functions; connects nothing, and needs no monkey-patching."""

    help = "List the remote functions of this project: name, signature, first line of the docstring, module."
    requires_system_checks: Sequence[str] = ()

    def __init__(self, *args: Any, **options: Any) -> None:
        open_closed_streams()
        super().__init__(*args, **options)

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the command's arguments."""
        parser.add_argument(
            "aliases", nargs="*", metavar="alias", help="aliases of the setting AMPHORA; by default all of them"
        )
        parser.add_argument("--json", action="store_true", help="print a JSON array with one object for each function")

    def run_from_argv(self, argv: list[str]) -> None:
        """Run the command, and end quietly when its output is read no further."""
        with exiting_on_broken_pipe():
            super().run_from_argv(argv)

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ARG002  (Django's signature)
        """Print the table, or the JSON."""
        try:
            aliases = options["aliases"] or list(services())
            found = {alias: remote_functions(alias) for alias in dict.fromkeys(aliases)}
            names = {alias: service(alias).service_name for alias in found}
        except ImproperlyConfigured as error:
            raise CommandError(str(error), returncode=2) from error
        if options["json"]:
            functions = [function for each in found.values() for function in each]
            rows = [{"service": names[each.alias], "summary": each.summary, **asdict(each)} for each in functions]
            self.stdout.write(json.dumps(rows, indent=2))
            return
        for number, (alias, functions) in enumerate(found.items()):
            if number:
                self.stdout.write()
            self.stdout.write(self.style.MIGRATE_HEADING(f"{alias} (service {names[alias]!r})"))
            self._print_table(alias, functions)

    def _print_table(self, alias: str, functions: Sequence[ListedFunction]) -> None:
        if not functions:
            module = service(alias).handlers_module
            self.stdout.write(f"  no functions; add some with servers[{alias!r}].add_function in {module}.py of an app")
            return
        rows = [(each.name, each.signature, each.summary, each.module) for each in functions]
        width = shutil.get_terminal_size().columns if self.stdout.isatty() else None
        for number, line in enumerate(table_lines([_HEADINGS, *rows], width=width)):
            self.stdout.write(self.style.MIGRATE_LABEL(line) if number == 0 else line)


def table_lines(rows: Sequence[Sequence[str]], *, width: int | None) -> list[str]:
    """Lay rows out in columns.

    Args:
        rows: Cells, as many in each row; the first row are the headings.
        width: Columns of the terminal: the third column is shortened for it if need be. None for no limit.

    Returns:
        Lines without white space at their ends.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    too_wide = 0 if width is None else sum(widths) + 2 * len(widths) - width
    if too_wide > 0:
        widths[2] = max(len(rows[0][2]), widths[2] - too_wide)
    return [
        "  " + "  ".join(_fitted(cell, size) for cell, size in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def _fitted(cell: str, size: int) -> str:
    return cell.ljust(size) if len(cell) <= size else cell[: size - 1] + "…"
