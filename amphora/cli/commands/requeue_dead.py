"""The arguments of ``amphora requeue-dead``."""

from __future__ import annotations

from typing import Any

import click

from amphora.cli.choice_options import choice_options
from amphora.cli.execution import executed_by
from amphora.cli.service_options import ServiceCommand, service_options

__all__ = ["command"]

_EPILOG = """\
A request leaves the dead letters only when the broker has confirmed that it has it in its old queue: stop this command
at any time, none is lost (in the worst moment one is in both). It has all its tries again. Its caller does not wait for
it any more.

While it looks, it has all dead letters of the service in its memory, and no other program gets them; those that it does
not give back are in their old order again afterwards.

Where servers have signing_keys, name the key with --signing-key-file. Then only letters with the mark of a server are
given back, and the others are shown with the reason. With --unverified they are given back and signed too: anybody who
may publish a request can have written them.

\b
Exit statuses:
  0    done; there may have been none to give back
  1    some could not be given back, and stay where they are
  4    the broker cannot be reached, or refuses
"""


@click.command("requeue-dead", cls=ServiceCommand, epilog=_EPILOG)
@service_options
@choice_options
@click.option("--dry-run", is_flag=True, help="Only show which.")
@click.option(
    "--unverified",
    is_flag=True,
    help="Give back, and sign, also those that no server is known to have given up: look at them before.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object: those given back, those that failed.")
@executed_by("requeue_dead")
def command(*args: Any, **values: Any) -> None:
    """Give dead letters of the service NS back to the queues that they come from."""
