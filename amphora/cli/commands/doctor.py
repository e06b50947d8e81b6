"""The arguments of ``amphora doctor``."""

from __future__ import annotations

from typing import Any

import click

from amphora.cli.execution import executed_by
from amphora.cli.management_option import management_option
from amphora.cli.service_options import ServiceCommand, optional_service_options

__all__ = ["command"]

#: That of a client, without an import of all that its options are checked with. (A test compares them.)
_QUEUE_TYPE = "auto"

_AS_MADE = "As clients and servers of NS are made with it."

_EPILOG = """\
It changes nothing on the broker: with NS, it makes a queue for the reply to a ping, as any client does, which goes
after a minute.

\b
Exit statuses:
  0    nothing is wrong (there may be notes and warnings)
  1    something is wrong
  4    the broker cannot be reached, or refuses the user
"""


@click.command("doctor", cls=ServiceCommand, epilog=_EPILOG)
@optional_service_options
@click.option(
    "--queue-type",
    type=click.Choice(["auto", "classic", "quorum"]),
    default=_QUEUE_TYPE,
    show_default=True,
    help=_AS_MADE,
)
@click.option("--delivery-limit", type=int, metavar="N", help=_AS_MADE)
@management_option
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array with an object for each finding.")
@executed_by("doctor")
def command(*args: Any, **values: Any) -> None:
    """Look at this installation, at the broker, and at the service NS; each line says what is wrong."""
