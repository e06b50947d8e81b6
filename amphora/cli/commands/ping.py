"""The arguments of ``amphora ping``."""

from __future__ import annotations

from typing import Any

import click

from amphora.cli.execution import executed_by
from amphora.cli.service_options import ServiceCommand, service_options
from amphora.cli.values import count, seconds

__all__ = ["command"]

_EPILOG = """\
A server that has answered before and does not now is named in each round. Servers that are busy answer all the same.

\b
Exit statuses:
  0    all servers that were seen have answered every round since
  1    answers are missing, or there are fewer than --servers
  3    no server has answered
  4    the broker cannot be reached, or refuses
"""


@click.command("ping", cls=ServiceCommand, epilog=_EPILOG)
@service_options
@click.option("-c", "--count", "rounds", type=count, metavar="N", help="Rounds; without it, until Ctrl-C.")
@click.option("-i", "--interval", type=seconds, default=1.0, show_default=True, help="From round to round.")
@click.option("-W", "--timeout", type=seconds, default=1.0, show_default=True, help="For the answers of a round.")
@click.option("--servers", type=count, metavar="N", help="So many are there: a round ends when they have answered.")
@click.option("-q", "--quiet", is_flag=True, help="Only the summary.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object: the summary; 1 round if no --count.")
@executed_by("ping")
def command(*args: Any, **values: Any) -> None:
    """Ask all servers of the service NS whether they are there, and measure the round trips."""
