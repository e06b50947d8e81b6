"""`describe_function`: what is told of a remote function to those who may call it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

__all__ = ["FunctionDescription", "describe_function"]


@dataclass(frozen=True, slots=True)
class FunctionDescription:
    """A function as its callers see it.

    Attributes:
        signature (str): Its parameters as they are written, parentheses included; ``(...)`` where Python does not know.
        doc (str): Its whole docstring without indentation; empty if it has none.
        module (str): Where it is defined; empty if unknown.
    """

    signature: str
    doc: str
    module: str

    @property
    def summary(self) -> str:
        """First line of the docstring."""
        return self.doc.partition("\n")[0]


def describe_function(function: Callable[..., Any]) -> FunctionDescription:
    """Describe a function, as listings of remote functions do.

    Args:
        function: The function, or anything else that can be called: a class, a `functools.partial`, an object.
    """
    written = function.func if isinstance(function, partial) else function
    module = getattr(written, "__module__", None) or type(written).__module__
    return FunctionDescription(_signature(function), _docstring(written), module)


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
