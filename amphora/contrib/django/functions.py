"""What is told about remote functions: names, signatures and docstrings."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from amphora.contrib.django.endpoints import servers

__all__ = ["RemoteFunction", "describe", "remote_functions"]


@dataclass(frozen=True)
class RemoteFunction:
    """A function as its callers see it.

    Args:
        alias: Alias of the service in ``AMPHORA``.
        name: Its remote name.
        signature: Its parameters as they are written, parentheses included; ``(...)`` where Python does not know.
        docstring: Its whole docstring without indentation, or nothing.
        module: Where it is defined.
    """

    alias: str
    name: str
    signature: str
    docstring: str
    module: str

    @property
    def summary(self) -> str:
        """First line of the docstring."""
        return self.docstring.partition("\n")[0]


def describe(alias: str, name: str, function: Callable[..., Any]) -> RemoteFunction:
    """Describe a function.

    Args:
        alias: Alias of its service.
        name: Its remote name.
        function: The function, or anything else that can be called.
    """
    written = function.func if isinstance(function, partial) else function
    return RemoteFunction(
        alias=alias,
        name=name,
        signature=_signature(function),
        docstring=_docstring(written),
        module=getattr(written, "__module__", None) or type(written).__module__,
    )


def remote_functions(alias: str) -> list[RemoteFunction]:
    """Describe the functions of an alias, in the order of their names; connects nothing.

    Raises:
        ImproperlyConfigured: There is no such alias, or something is wrong with it.
    """
    return [describe(alias, name, function) for name, function in sorted(servers[alias].functions.items())]


def _docstring(function: Callable[..., Any]) -> str:
    found = inspect.getdoc(function)
    if not found and not (inspect.isroutine(function) or inspect.isclass(function)):
        # An object that can be called.
        found = inspect.getdoc(type(function).__call__)
    return found or ""


def _signature(function: Callable[..., Any]) -> str:
    try:
        found = inspect.signature(function)
    except (TypeError, ValueError):
        # Some that are written in C tell nothing.
        return "(...)"
    parameters = [each.replace(annotation=_as_written(each.annotation)) for each in found.parameters.values()]
    return str(found.replace(parameters=parameters, return_annotation=_as_written(found.return_annotation)))


def _as_written(annotation: Any) -> Any:
    """Keep an annotation that is text (``from __future__ import annotations``) from being shown in quotes."""
    return _Annotation(annotation) if isinstance(annotation, str) else annotation


class _Annotation(str):
    """An annotation that shows as it is written."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)
