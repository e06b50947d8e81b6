"""Completes names of remote functions in a shell, by asking a server of the service."""

from __future__ import annotations

import re
from dataclasses import replace

import click
from click.shell_completion import CompletionItem

from amphora import AmqpRpcException
from amphora.cli.services import amphora_logs, service_of
from amphora.logs.remote_text import printable

__all__ = ["NEEDS_NO_QUOTES", "complete_function"]

#: Names that mean nothing else in any shell, and need no quotes: a shell puts what is completed into the line that it
#: runs, and servers choose the names.
NEEDS_NO_QUOTES = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", re.ASCII)

#: Seconds for the connection, and for the answer: a user waits at the prompt.
_PATIENCE = 2.0


def complete_function(context: click.Context, incomplete: str) -> list[CompletionItem]:
    """Return the functions of the service on the command line that begin so; none where no server answers soon.

    Those whose names would need quotes are left out.
    """
    try:
        service = replace(service_of(context), connect_timeout=_PATIENCE)
        with amphora_logs(verbose=False), service.client() as client:
            if not client.wait_connected(_PATIENCE):
                return []
            found = client.inspect.functions(timeout=_PATIENCE, limit=1)
    except (AmqpRpcException, click.ClickException):
        # Whatever is wrong, the command itself will say it.
        return []
    return [
        # In one line: shells read a line for each value and each description.
        CompletionItem(name, help=printable(f"{each.signature} {each.doc.partition(chr(10))[0]}".strip()))
        for name, each in found.items()
        if name.startswith(incomplete) and NEEDS_NO_QUOTES.fullmatch(name)
    ]
