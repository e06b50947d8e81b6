"""The option that says how label queues are named."""

from __future__ import annotations

from typing import Any

import click

__all__ = ["named_by", "template_option"]

#: For commands with `--label`: clients and servers of the service may have another `queue_template`.
template_option = click.option(
    "--queue-template",
    metavar="TEMPLATE",
    help="The queue_template of the clients and servers, for --label.",
)


def named_by(queue_template: str | None) -> dict[str, Any]:
    """Return the option of a client that says so."""
    return {} if queue_template is None else {"queue_template": queue_template}
