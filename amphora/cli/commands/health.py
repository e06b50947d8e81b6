"""The arguments of ``amphora health``."""

from __future__ import annotations

from typing import Any

import click

from amphora.cli.execution import executed_by
from amphora.cli.probe import DEFAULT_HOST
from amphora.cli.service_options import ServiceCommand, optional_service_options
from amphora.cli.values import count, seconds

__all__ = ["command"]

_EPILOG = """\
With NS, the servers are asked over the broker. With --port, the processes of `amphora serve --metrics-port` are asked
over HTTP: this is quick, works while the broker is away, and is what probes want.

A server is ready when it is connected, the broker delivers to it, and takes its messages. LAG is by how much its event
loop was late at the worst, in the last 10 seconds. Who hangs does not answer.

\b
Exit statuses:
  0    all that were asked are ready (or alive), or at least --servers
  1    some are not, or, with --port, do not answer
  2    wrong arguments
  3    no server has answered over the broker
  4    the broker cannot be reached, or refuses, or is blocked
"""


@click.command("health", cls=ServiceCommand, epilog=_EPILOG)
@optional_service_options
@click.option("--port", "ports", type=click.IntRange(1, 65535), multiple=True, metavar="PORT", help="Ask over HTTP.")
@click.option("--processes", type=count, default=1, metavar="N", help="With --port: so many, at the next ports.")
@click.option("--host", metavar="HOST", help=f"With --port: on which machine.  [default: {DEFAULT_HOST}]")
@click.option("--ready", is_flag=True, help="Whether requests get through; the default.")
@click.option("--live", is_flag=True, help="With --port: whether the event loop turns, whatever the broker does.")
@click.option("--max-lag", type=seconds, help="Not ready if the event loop was later than this.")
@click.option("--here", is_flag=True, help="With NS: only servers on this machine (in this pod).")
@click.option("--servers", type=count, metavar="N", help="At least so many are to be ready; others may not be.")
@click.option("--timeout", type=seconds, help="For the answers.  [default: 1; with --port 5]")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array with an object for each.")
@executed_by("health")
def command(*args: Any, **values: Any) -> None:
    """Check whether the servers of the service NS, or the processes at --port, can do their work."""
