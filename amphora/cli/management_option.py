"""The option that says where the management API is, in commands that may ask it."""

from __future__ import annotations

import click

__all__ = ["management_option"]

management_option = click.option(
    "--management",
    metavar="URL",
    envvar="AMPHORA_MANAGEMENT_URL",
    show_envvar=True,
    help="Ask the management API too, such as http://host:15672.",
)
