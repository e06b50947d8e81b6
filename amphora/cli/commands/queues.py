"""The arguments of ``amphora queues``."""

from __future__ import annotations

from typing import Any

import click

from amphora.cli.execution import executed_by
from amphora.cli.label_names import template_option
from amphora.cli.management_option import management_option
from amphora.cli.service_options import ServiceCommand, service_options
from amphora.cli.values import seconds

__all__ = ["command"]

_EPILOG = """\
AMQP tells of queues whose names are known: the service's own, that of the dead letters, and those of --label. The
management API tells of all of them, more of each, and needs a user with the tag `management`.

\b
Exit statuses:
  0    the queues are there
  1    a queue that was asked for is not there, or a queue has no consumer
       that has messages, or the broker does not answer about a queue
  4    the broker or its management API cannot be reached, or refuses
"""


@click.command("queues", cls=ServiceCommand, epilog=_EPILOG)
@service_options
@click.option("--label", "labels", multiple=True, metavar="LABEL", help="Show the queue of a label too.")
@template_option
@management_option
@click.option("--all", "everything", is_flag=True, help="With --management: queues of single clients and servers too.")
@click.option("--timeout", type=seconds, default=10.0, show_default=True, help="For the broker's answer.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array with an object for each queue.")
@executed_by("queues")
def command(*args: Any, **values: Any) -> None:
    """Show the queues of the service NS: messages that wait, and consumers."""
