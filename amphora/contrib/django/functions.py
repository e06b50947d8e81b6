"""The remote functions of an alias, described."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from amphora import describe_function
from amphora.contrib.django.endpoints import servers

__all__ = ["ListedFunction", "describe", "remote_functions"]


@dataclass(frozen=True)
class ListedFunction:
    """A function as its callers see it.

    Args:
        alias: Alias of the service in ``AMPHORA``.
        name: Its remote name.
        signature: Its parameters as they are written, parentheses included; ``(...)`` where Python does not know.
        docstring: Its whole docstring without indentation, or nothing.
        module: Where it is defined.
        summary: First line of the docstring.
    """

    alias: str
    name: str
    signature: str
    docstring: str
    module: str
    summary: str


def describe(alias: str, name: str, function: Callable[..., Any]) -> ListedFunction:
    """Describe a function.

    Args:
        alias: Alias of its service.
        name: Its remote name.
        function: The function, or anything else that can be called.
    """
    told = describe_function(function)
    return ListedFunction(alias, name, told.signature, told.doc, told.module, told.summary)


def remote_functions(alias: str) -> list[ListedFunction]:
    """Describe the functions of an alias, in the order of their names; connects nothing.

    Raises:
        ImproperlyConfigured: There is no such alias, or something is wrong with it.
    """
    return [describe(alias, name, function) for name, function in sorted(servers[alias].functions.items())]
