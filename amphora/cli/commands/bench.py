"""The arguments of ``amphora bench``."""

from __future__ import annotations

from typing import Any

import click

from amphora.cli.completing import complete_function
from amphora.cli.execution import executed_by
from amphora.cli.service_options import ServiceCommand, service_options
from amphora.cli.values import count, seconds

__all__ = ["command"]

_EPILOG = """\
The function really runs, so often as it is called. Without one, it is amphora.ping, which every server has. VALUE and
--kw are those of `amphora call`.

\b
Exit statuses:
  0    all calls have got results
  1    some have not; the report says how they failed
  2    wrong arguments; nothing was sent
  4    the broker cannot be reached, or refuses
"""


@click.command("bench", cls=ServiceCommand, epilog=_EPILOG)
@service_options
@click.argument("function", default="amphora.ping", shell_complete=complete_function)
@click.argument("values", nargs=-1, metavar="[VALUE]...")
@click.option("--kw", multiple=True, metavar="NAME=VALUE", help="A keyword argument; as often as needed.")
@click.option("-c", "--concurrency", type=count, default=20, show_default=True, metavar="N", help="Calls at a time.")
@click.option("-d", "--duration", type=seconds, help="For how long.  [default: 10, or until --count]")
@click.option("-n", "--count", "wanted", type=count, metavar="N", help="How many calls.")
@click.option("--routing-key", metavar="KEY", help="Call the server that receives from the queue of this label.")
@click.option("--timeout", type=seconds, default=10.0, show_default=True, help="For each reply.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as a JSON object.")
@executed_by("bench")
def command(*args: Any, **values: Any) -> None:
    """Call FUNCTION of the service NS over and over, and report rates and latencies."""
