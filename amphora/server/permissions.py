"""`require_user`: remote functions that only certain users of the broker may call."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from amphora.endpoint.current_request import current_request
from amphora.exceptions import Forbidden
from amphora.server.registry import USERS, denial

__all__ = ["require_user"]

Function = TypeVar("Function", bound=Callable[..., Any])


def require_user(*users: str) -> Callable[[Function], Function]:
    """Let only these users of the broker call a remote function; a decorator.

    ::

        @server.add_function
        @require_user("shop", "backoffice")
        def refund(order): ...

    A request names its user where its client was made with ``identify=True``, and RabbitMQ refuses a request that names
    another user than that of its connection. All other requests get `Forbidden`, and the function does not run.

    Calls within the program, outside of a request, are not restricted.

    Args:
        users: Names of users of the broker.

    Returns:
        The decorator.

    Raises:
        TypeError: A name is not text, or there is none: ``@require_user`` without parentheses, for instance.
        ValueError: A name is empty.
    """
    if not users or not all(isinstance(each, str) for each in users):
        raise TypeError(f"require_user takes the names of users, such as require_user('shop'), not {users!r}")
    if not all(users):
        raise ValueError("require_user: the name of a user must not be empty")
    allowed = frozenset(users)

    def decorate(function: Function) -> Function:
        @wraps(function)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            # The server has looked at USERS before, unless something stands around this that hides it.
            request = current_request()
            if request is not None and request.user not in allowed:
                raise Forbidden(denial(request.function, request.user))
            return function(*args, **kwargs)

        within = getattr(function, USERS, None)
        setattr(guarded, USERS, allowed if within is None else allowed & within)
        return cast("Function", guarded)

    return decorate
