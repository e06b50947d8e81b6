"""``amphora call``: call a remote function from a terminal or a script."""

from __future__ import annotations

import difflib
from typing import Any

from amphora import AmqpRpcClient, WrongRequest, parse_value
from amphora.cli.exit_codes import BadArguments, Failed
from amphora.cli.output import print_json
from amphora.cli.services import TargetService
from amphora.cli.values import parse_keyword_arguments

__all__ = ["run"]


#: Seconds to look for functions with similar names.
_LOOK = 1.0


def run(
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
