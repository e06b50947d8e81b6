"""Completes names of remote functions in a shell, by asking a server of the service."""

from __future__ import annotations

from dataclasses import replace

import click
from click.shell_completion import CompletionItem

from amphora import AmqpRpcException
from amphora.cli.services import amphora_logs, service_of

__all__ = ["complete_function"]

#: Seconds for the connection, and for the answer: somebody waits at the prompt.
_PATIENCE = 2.0


def complete_function(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001  (click's signature)
    """Return the functions of the service on the command line that begin so; none where nobody answers soon."""
    if not context.params.get("namespace"):
        return []
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
        CompletionItem(name, help=f"{each.signature} {each.doc.partition(chr(10))[0]}".rstrip())
        for name, each in found.items()
        if name.startswith(incomplete)
    ]
