"""Attributes of an object that is made only when it is used, for what stands in for it until then."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any

from amphora import AmqpRpcClient
from amphora.endpoint.at_exit import leave

__all__ = ["lazy_attribute", "leave", "stop_for_good"]


def stop_for_good(endpoint: Any) -> None:
    """Stop an endpoint that is thrown away: requests that stay unconfirmed for its ``exit_timeout`` are reported."""
    if isinstance(endpoint, AmqpRpcClient):
        endpoint.stop_for_good()
    else:
        endpoint.stop()


def lazy_attribute(stand_in: object, like: type, name: str, real: Callable[[], Any]) -> Any:
    """Return a public attribute of the real object, and make that only where there is no other way.

    Looking a method up makes nothing; calling it does. Reading a property makes the object. A name that the class
    does not have is an `AttributeError`, so that ``hasattr(stand_in, "anything")`` never connects.

    Args:
        stand_in: Whose attribute it is, for the text of the error.
        like: Class of the real object.
        name: The attribute's name.
        real: Returns the real object, and makes it if need be.

    Raises:
        AttributeError: The class has no such public name.
    """
    missing = object()
    member = missing if name.startswith("_") else inspect.getattr_static(like, name, missing)
    if member is missing:
        raise AttributeError(f"{type(stand_in).__name__!r} object has no attribute {name!r}", name=name, obj=stand_in)
    if isinstance(member, (classmethod, staticmethod)):
        return getattr(like, name)
    if not callable(member):
        return getattr(real(), name)

    @wraps(member)
    def method(*args: Any, **kwargs: Any) -> Any:
        return getattr(real(), name)(*args, **kwargs)

    return method
