"""``amphora call``: call a remote function from a terminal or a script."""

from __future__ import annotations

import difflib
from typing import Any

import click

from amphora import AmqpRpcClient, WrongRequest, parse_value
from amphora.cli.exit_codes import BadArguments, Failed
from amphora.cli.function_names import complete_function
from amphora.cli.output import print_json
from amphora.cli.services import ServiceCommand, TargetService, service_options
from amphora.cli.values import parse_keyword_arguments, seconds_or_zero

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

#: Seconds to look for functions with similar names.
_LOOK = 1.0


@click.command("call", cls=ServiceCommand, epilog=_EPILOG)
@service_options
@click.argument("function", shell_complete=complete_function)
@click.argument("values", nargs=-1, metavar="[VALUE]...")
@click.option("--kw", multiple=True, metavar="NAME=VALUE", help="A keyword argument; as often as needed.")
@click.option("--routing-key", metavar="KEY", help="Call whoever receives from the queue of a label.")
@click.option("--timeout", type=seconds_or_zero, default=60.0, show_default=True, help="For the reply.")
@click.option("--expires", is_flag=True, help="No server begins to run it after the timeout.")
@click.option("--no-wait", is_flag=True, help="Return when the broker has the request, without a result.")
@click.option("--cast", is_flag=True, help="Return when the broker has the request; servers send no reply.")
@click.option("--json", "as_json", is_flag=True, hidden=True, help="The result is JSON in any case.")
def command(
    service: TargetService,
    function: str,
    values: tuple[str, ...],
    kw: tuple[str, ...],
    routing_key: str | None,
    timeout: float,
    expires: bool,
    no_wait: bool,
    cast: bool,
    as_json: bool,  # noqa: ARG001  (accepted as everywhere)
) -> None:
    """Call FUNCTION of the service NS and print its result as JSON."""
    keywords = parse_keyword_arguments(kw)
    arguments = [parse_value(text) for text in values]
    options: dict[str, Any] = {"function_name": function, "expires": expires}
    if routing_key is not None:
        options["routing_key"] = routing_key
    with service.connected(timeout=timeout) as client:
        try:
            if cast:
                client.cast(**options)(*arguments, **keywords)
                return
            if no_wait:
                client.defer(**options)(*arguments, **keywords)
                return
            result = client.call(**options)(*arguments, **keywords)
        except WrongRequest as error:
            raise Failed(f"{error}{_hint(client, function)}") from error
        except (TypeError, ValueError) as error:
            raise BadArguments(str(error)) from error
    print_json(result)


def _hint(client: AmqpRpcClient, function: str) -> str:
    """Say which functions there are, where there is none of that name."""
    known = client.inspect.functions(timeout=_LOOK, limit=1)
    if not known or function in known:
        return ""
    near = difflib.get_close_matches(function, known)
    if near:
        return f". Did you mean {' or '.join(near)}?"
    return f": `amphora functions {client.service_name}` lists those that there are"
