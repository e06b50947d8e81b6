"""The arguments of ``amphora top``."""

from __future__ import annotations

from typing import Any

import click

from amphora.cli.execution import executed_by
from amphora.cli.label_names import template_option
from amphora.cli.service_options import ServiceCommand, service_options
from amphora.cli.values import count, seconds

__all__ = ["command"]

_EPILOG = """\
CALLS/s, ERR/s, p50 and p99 are since the round before, ERRORS since the server was started. p50 and p99 say how long
functions ran: milliseconds that half of the runs, and 99 % of them, did not exceed; - where none ended, or where the
server does not tell (an older Amphora). RUN are requests that run now, of so many that may; OUTBOX are replies that the
broker has not confirmed. PING is the median round trip of this command's own question, of its last 100 rounds, in
milliseconds. A terminal that is too narrow for all columns shows fewer.

\b
Exit statuses:
  0    ended
  3    no server has answered
  4    the broker cannot be reached, or refuses
"""


@click.command("top", cls=ServiceCommand, epilog=_EPILOG)
@service_options
@click.option("-i", "--interval", type=seconds, default=1.0, show_default=True, help="From round to round.")
@click.option("-n", "--rounds", type=count, metavar="N", help="Rounds; without it, until Ctrl-C.")
@click.option("--label", "labels", multiple=True, metavar="LABEL", help="Show the queue of a label too.")
@template_option
@click.option("--functions", is_flag=True, help="Show each function too, those that are called most first.")
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each round.")
@executed_by("top")
def command(*args: Any, **values: Any) -> None:
    """Watch the servers of the service NS: rates, run times, what runs, errors, queues."""
