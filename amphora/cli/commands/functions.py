"""The arguments of ``amphora functions``."""

from __future__ import annotations

from typing import Any

import click

from amphora.cli.completing import complete_function
from amphora.cli.execution import executed_by
from amphora.cli.service_options import ServiceCommand, service_options
from amphora.cli.values import count, seconds

__all__ = ["command"]

_EPILOG = """\
PATTERN is a name, or part of names with * and ?. Of those functions the whole docstring is shown, of all others the
first line.

\b
Exit statuses:
  0    there are such functions
  1    there are none of that name
  3    no server answers: none is there, or none that tells
       (introspection=False, Amphora 0.1)
  4    the broker cannot be reached, or refuses
"""


@click.command("functions", cls=ServiceCommand, epilog=_EPILOG)
@service_options
@click.argument("pattern", required=False, shell_complete=complete_function)
@click.option("--timeout", type=seconds, default=1.0, show_default=True, help="How long to wait for servers.")
@click.option("--servers", type=count, metavar="N", help="So many are there: wait no longer once they have answered.")
@click.option("--stub", is_flag=True, help="Print the source of a class for client.bind(), which types the calls.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array with an object for each function.")
@executed_by("functions")
def command(*args: Any, **values: Any) -> None:
    """List the functions of the service NS: names, signatures, docstrings."""
