"""The arguments of ``amphora purge-dead``."""

from __future__ import annotations

from typing import Any

import click

from amphora.cli.choice_options import choice_options
from amphora.cli.execution import executed_by
from amphora.cli.service_options import ServiceCommand, service_options

__all__ = ["command"]

_EPILOG = """\
What is deleted is gone: it asks before, and needs --yes where there is no terminal.

\b
Exit statuses:
  0    done; there may have been none to delete
  2    not confirmed; nothing was deleted
  4    the broker cannot be reached, or refuses
"""


@click.command("purge-dead", cls=ServiceCommand, epilog=_EPILOG)
@service_options
@choice_options
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Only show which.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object; needs --yes or --dry-run.")
@executed_by("purge_dead")
def command(*args: Any, **values: Any) -> None:
    """Delete dead letters of the service NS."""
