"""The arguments of ``amphora shell``."""

from __future__ import annotations

from typing import Any

import click

from amphora.cli.execution import executed_by
from amphora.cli.service_options import ServiceCommand, service_options
from amphora.cli.values import seconds, seconds_or_zero

__all__ = ["command"]

_EPILOG = """\
\b
  >>> client.call.add(1, 2)
  >>> client.defer.add(1, 2).get()

Names of remote functions are completed with Tab, as they were when the shell began; functions() asks for them again.
Ctrl-C ends a call that is waited for, Ctrl-D the shell.

\b
Exit statuses:
  0    ended
  4    the broker cannot be reached, or refuses
"""


@click.command("shell", cls=ServiceCommand, epilog=_EPILOG)
@service_options
@click.option("--timeout", type=seconds_or_zero, default=60.0, show_default=True, help="For replies.")
@click.option(
    "--discover", type=seconds, default=1.0, show_default=True, help="How long to wait for names of functions."
)
@executed_by("shell")
def command(*args: Any, **values: Any) -> None:
    """Open a Python prompt with `client`, a client of the service NS."""
