"""The arguments of ``amphora serve``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from amphora.cli.execution import executed_by
from amphora.cli.service_options import BROKER_VARIABLE
from amphora.cli.tls_options import with_tls_options
from amphora.cli.values import count, seconds_or_zero

__all__ = ["command"]

_EPILOG = """\
TARGET is package.module:attribute, looked for in the current directory first: a server, or a function without
arguments that makes one. Without :attribute, the only server of the module.

--broker, --concurrency and the options about TLS take the place of what the program says, for all servers and clients
that it makes. AMPHORA_BROKER_URL is for those that name no broker, AMPHORA_TLS_CA and the others for those that speak
TLS.

SIGTERM and Ctrl-C stop it warm: it takes no more requests, and finishes those that run. A second signal stops it at
once; what was running goes back to its queue.

\b
Exit statuses:
  0    stopped, and everything finished
  1    stopped, but requests took longer than --grace: they go back to their
       queues
  2    wrong arguments, or the program cannot be imported
  4    the broker refuses (one that is not there is waited for)
  130, 143   stopped at once by a second signal
"""


@click.command("serve", epilog=_EPILOG)
@click.argument("targets", nargs=-1, required=True, metavar="TARGET...")
@click.option("-q", "--queue", "labels", multiple=True, metavar="LABEL", help="Serve the queue of a label too.")
@click.option("-c", "--concurrency", type=count, metavar="N", help="Requests that run at the same time.")
@click.option("--max-received-size", type=count, metavar="BYTES", help="Of a message's body that is decoded.")
@click.option("--grace", type=seconds_or_zero, default=30.0, show_default=True, help="For running requests to finish.")
@click.option("-p", "--processes", type=count, default=1, show_default=True, metavar="N", help="How many processes.")
@click.option("--reload", "reloads", is_flag=True, help="Restart when the code changes; for development.")
@click.option(
    "--reload-dir",
    "directories",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Watch this directory instead of the current one; as often as needed.",
)
@click.option(
    "--metrics-port",
    type=click.IntRange(1, 65535),
    metavar="PORT",
    help="Answer probes (/live, /ready) and Prometheus (/metrics) there. Of several processes, each has the next port.",
)
@click.option(
    "--metrics-host",
    metavar="HOST",
    default="127.0.0.1",
    show_default=True,
    help="Address for --metrics-port; 0.0.0.0 or :: for probes and Prometheus on other machines.",
)
@click.option("--broker", metavar="URL", help=f"The broker.  [env var: {BROKER_VARIABLE}]")
@with_tls_options
@click.option(
    "-l",
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"], case_sensitive=False),
    default="info",
    show_default=True,
    help="Of what is logged on standard error, if the program does not set up logging itself.",
)
@click.pass_context
@executed_by("serve")
def command(*args: Any, **values: Any) -> None:
    """Serve TARGET, or several of them, until it is stopped."""
