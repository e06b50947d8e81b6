"""Functions and their remote names, as `AmqpRpcServer.add_function` takes them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from amphora.protocol.name_rules import printable_name

__all__ = ["add_or_decorate", "remote_name"]


def add_or_decorate(add: Callable[[Any, str | None], object], func: Any, name: str | None) -> Any:
    """Add a function, or return the decorator that does: for what has an ``add_function`` like a server's.

    Args:
        add: Takes a function, and its remote name or None.
        func: The function; or its remote name, or nothing, where a decorator is wanted.
        name: Its remote name.

    Returns:
        The function, or the decorator, which returns the function.

    Raises:
        TypeError: The two are in the wrong order, or there is neither; and what ``add`` raises.
    """
    if func is not None and not isinstance(func, str):
        add(func, name)
        return func
    if func is not None and name is not None:
        raise TypeError(f"add_function takes the function first: add_function(func, name={func!r})")
    wanted = name if func is None else func
    if wanted is None:
        raise TypeError("add_function needs a function or a name")

    def decorate(function: Any) -> Any:
        add(function, wanted)
        return function

    return decorate


def remote_name(function: Any, name: str | None = None) -> str:
    """Return the remote name of a function: the one that is given, or its own.

    Raises:
        TypeError: It is not callable, it is asynchronous, the name is not text, or it has no name of its own.
        ValueError: The name is empty, or has control characters.
    """
    if not callable(function):
        raise TypeError(f"only a callable can be a remote function, not {function!r}")
    if _is_async(function):
        raise TypeError(
            f"{function!r} is asynchronous, and servers run functions in greenlets: make it a plain function, in which "
            "waiting for I/O does not block others either. It can run asynchronous code in a thread: "
            "gevent.get_hub().threadpool.apply(asyncio.run, (coroutine,))"
        )
    wanted = getattr(function, "__name__", None) if name is None else name
    if wanted is None:
        raise TypeError(f"{function!r} has no __name__: give it a name")
    if not isinstance(wanted, str):
        raise TypeError(f"the name of a remote function must be a str, not {wanted!r}")
    if not wanted:
        raise ValueError("the name of a remote function must not be empty")
    return printable_name(wanted, "the name of a remote function")


def _is_async(function: Any) -> bool:
    kinds = (inspect.iscoroutinefunction, inspect.isasyncgenfunction)
    called = function if inspect.isroutine(function) or isinstance(function, partial) else type(function).__call__
    return any(is_kind(function) or is_kind(called) for is_kind in kinds)
