"""Remote functions by name; a request into a result, an error or "ignored"."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from amphora.exceptions import Forbidden, IgnoreRequest, WrongRequest
from amphora.interrupts import let_through
from amphora.protocol.messages import Request
from amphora.server.function_names import remote_name

__all__ = ["USERS", "Ignored", "Raised", "Registry", "Returned", "denial"]

#: Attribute of a function with the names of the users who may call it; others may not.
USERS = "__amphora_users__"


class Returned(NamedTuple):
    """The function returned."""

    value: Any


class Raised(NamedTuple):
    """The function raised, or was not run.

    Attributes:
        error: What the caller is to get.
        refused: Whether that is the decision of this server: there is no such function, or the user may not call it.
    """

    error: BaseException
    refused: bool = False


class Ignored(NamedTuple):
    """The function raised `IgnoreRequest`."""


class Registry:
    """Holds a service's functions."""

    def __init__(self) -> None:
        self._functions: dict[str, Callable[..., Any]] = {}
        self._reserved: dict[str, Callable[..., Any]] = {}
        self._users: dict[str, frozenset[str]] = {}
        self._around: list[Callable[[Callable[[], Any]], Any]] = []

    def add(self, function: Callable[..., Any], name: str | None = None) -> None:
        """Add a function.

        Args:
            function: Anything callable.
            name: Its remote name, with or without dots; by default its ``__name__``.

        Raises:
            TypeError: It is not callable, the name is not text, or it has no name of its own.
            ValueError: The name is empty, reserved, or taken by another function.
        """
        name = remote_name(function, name)
        if name in self._reserved:
            raise ValueError(f"the name {name!r} is reserved: every server has a function of that name")
        taken = self._functions.get(name)
        if taken is not None and taken is not function:
            raise ValueError(f"there is already a remote function {name!r}: {taken!r}")
        self._functions[name] = function
        users = getattr(function, USERS, None)
        if users is not None:
            self._users[name] = users

    def reserve(self, functions: Mapping[str, Callable[..., Any]]) -> None:
        """Add internal functions: they are not listed, and nothing runs around them."""
        self._reserved.update(functions)

    def surround(self, around: Callable[[Callable[[], Any]], Any]) -> None:
        """Let something run around every function.

        Args:
            around: Takes a function that runs the rest, and returns or raises what the remote function is to. The
                first one is the outermost.
        """
        self._around.append(around)

    def __contains__(self, name: str) -> bool:
        """Whether there is a function of this name; reserved ones do not count."""
        return name in self._functions

    @property
    def functions(self) -> dict[str, Callable[..., Any]]:
        """The functions by name (a copy)."""
        return dict(self._functions)

    def execute(self, request: Request, user: str | None = None) -> Returned | Raised | Ignored:
        """Run the function that the request names.

        Args:
            request: The request.
            user: The user of the broker who has sent it, if it says so.

        An exception of the function is a value here, ``gevent.Timeout`` and ``SystemExit``
        included; only a ``KeyboardInterrupt``, which ends the program, comes out.
        """
        function = self._functions.get(request.function)
        around = self._around
        if function is None:
            function, around = self._reserved.get(request.function), []
        if function is None:
            return Raised(WrongRequest(f"No function {request.function} defined"), refused=True)
        if self._users and user not in self._users.get(request.function, (user,)):
            return Raised(Forbidden(denial(request.function, user)), refused=True)
        try:
            if not around:
                return Returned(function(*request.args, **request.kwargs))
            call: Callable[[], Any] = partial(function, *request.args, **request.kwargs)
            for each in reversed(around):
                call = partial(each, call)
            return Returned(call())
        except IgnoreRequest:
            return Ignored()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001  (whatever a user's function raises)
            let_through(error)
            return Raised(error)


def denial(function: str, user: str | None) -> str:
    """Return why a user may not call a function."""
    if user is None:
        return (
            f"{function!r} is for certain users, and the request does not name its user (identify=True of its client)"
        )
    return f"{function!r} is not for the user {user!r}"
