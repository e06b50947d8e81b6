"""Asks the constructors of servers and clients what they think of the settings of an alias."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from amphora import AmqpRpcClient, AmqpRpcFanoutClient, AmqpRpcFanoutServer, AmqpRpcServer
from amphora.contrib.django.conf import imported
from amphora.contrib.django.options import client_arguments, server_arguments
from amphora.contrib.django.problems import WRONG, Problem, problems_of

__all__ = ["wrong_arguments"]


def wrong_arguments(alias: Any, options: Any) -> Iterator[Problem]:
    """Find values that a constructor refuses; nothing connects.

    Args:
        alias: Key in ``AMPHORA``.
        options: What stands there.
    """
    if not isinstance(alias, str) or not isinstance(options, Mapping):
        return
    known = {**server_arguments(), **client_arguments()}
    wrong_already = {problem.setting for problem in problems_of(alias, options)}
    given = {name: value for name, value in options.items() if name in known and name not in wrong_already}
    # One by one, as a constructor complains of the first only.
    found = False
    for name, value in given.items():
        refusal = _refusal(options.get("FANOUT") is True, {"SERVICE_NAME": "check", name: value})
        if refusal is not None:
            found = True
            text = f"AMPHORA[{alias!r}][{name!r}]: {refusal}."
            yield Problem(WRONG, alias, text, "Correct it in the settings; see docs/django-settings.md.", name)
    if not found:
        refusal = _refusal(options.get("FANOUT") is True, {"SERVICE_NAME": "check", **given})
        if refusal is not None:
            text = f"AMPHORA[{alias!r}]: {refusal}."
            yield Problem(WRONG, alias, text, "Correct the settings; see docs/django-settings.md.")


def _refusal(fanout: bool, given: Mapping[str, Any]) -> str | None:
    server = AmqpRpcFanoutServer if fanout else AmqpRpcServer
    client = AmqpRpcFanoutClient if fanout else AmqpRpcClient
    for kind, known in ((server, server_arguments()), (client, client_arguments())):
        try:
            arguments = imported({name.lower(): value for name, value in given.items() if name in known})
            kind.check_arguments(**arguments)
        except (ImportError, TypeError, ValueError) as error:
            return str(error).rstrip(".")
    return None
