"""The arguments of ``amphora call``."""

from __future__ import annotations

from typing import Any

import click

from amphora.cli.completing import complete_function
from amphora.cli.execution import executed_by
from amphora.cli.service_options import ServiceCommand, service_options
from amphora.cli.values import seconds_or_zero

__all__ = ["command"]

_EPILOG = """\
Each VALUE is JSON, or else text: 42 is a number, '"42"' is text, and so is O-42. A VALUE
that begins with a hyphen stands after --, at the end.

\b
Exit statuses:
  0    the function has returned; its result is on standard output, as JSON
  1    the function raised, does not exist, or was given up
  2    wrong arguments; nothing was sent
  3    no reply in time; the function may run, or may have run
  4    the broker cannot be reached or refuses, or no queue takes the request;
       the function does not run
  130  interrupted (Ctrl-C)
"""


@click.command("call", cls=ServiceCommand, epilog=_EPILOG)
@service_options
@click.argument("function", shell_complete=complete_function)
@click.argument("values", nargs=-1, metavar="[VALUE]...")
@click.option("--kw", multiple=True, metavar="NAME=VALUE", help="A keyword argument; as often as needed.")
@click.option("--routing-key", metavar="KEY", help="Call the server that receives from the queue of this label.")
@click.option("--timeout", type=seconds_or_zero, default=60.0, show_default=True, help="For the reply.")
@click.option("--expires", is_flag=True, help="No server begins to run it after the timeout.")
@click.option("--no-wait", is_flag=True, help="Return when the broker has the request, without a result.")
@click.option("--cast", is_flag=True, help="Return when the broker has the request; servers send no reply.")
@click.option("--json", "as_json", is_flag=True, hidden=True, help="The result is JSON in any case.")
@executed_by("call")
def command(*args: Any, **values: Any) -> None:
    """Call FUNCTION of the service NS and print its result as JSON."""
