"""`PrettyCaller`: attribute access and options into one function call."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

from amphora.protocol.name_rules import printable_name

__all__ = ["CALL_OPTIONS", "CAST_OPTIONS", "DEFER_OPTIONS", "CallOptions", "PrettyCaller"]

#: Options of one call by name; what is missing is the client's default.
CallOptions = dict[str, Any]

#: Options of a client's ``call``, of its ``defer`` and of its ``cast``.
CALL_OPTIONS = ("function_name", "timeout", "routing_key", "expires")
DEFER_OPTIONS = (*CALL_OPTIONS, "wait_publish")
CAST_OPTIONS = (*DEFER_OPTIONS, "legacy")

#: How many attributes a caller keeps for the next time.
_KEPT = 1000

#: Takes function name, options, args and kwargs, and does the call.
Invoke = Callable[[str, CallOptions, tuple[Any, ...], dict[str, Any]], Any]


class PrettyCaller:
    """A remote function that is called like a local one.

    Attributes name the function, dots and all; calling it calls the remote function with those
    arguments. Called before it has a name, it takes options instead::

        client.call.add(1, 2)
        client.call(timeout=5, routing_key="x").add(1, 2)
        client.defer.send_message.email("root@example.com", "Hello!")
        client.defer(function_name="send_message.email")("root@example.com", "Hello!")

    It is immutable: an attribute or an option gives another one, so that any of them can be kept and
    shared between greenlets.

    Names that begin with an underscore are not remote functions here; use ``function_name`` for
    them.
    """

    _invoke: Invoke
    _allowed: tuple[str, ...]
    _name: str
    _options: CallOptions

    def __init__(
        self,
        invoke: Invoke,
        allowed: tuple[str, ...],
        name: str = "",
        options: CallOptions | None = None,
    ) -> None:
        self.__dict__.update(_invoke=invoke, _allowed=allowed, _name=name, _options=options or {})

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a PrettyCaller cannot be changed: {name!r} is the name of a remote function")

    def __getattr__(self, name: str) -> PrettyCaller:
        if name.startswith("_"):
            raise AttributeError(f"{name!r} is not taken for a remote function; use function_name={name!r}")
        if not name.isprintable():
            raise AttributeError(f"{name!r} is not taken for a remote function")
        path = f"{self._name}.{name}" if self._name else name
        named = PrettyCaller(self._invoke, self._allowed, path, self._options)
        if len(self.__dict__) < _KEPT:
            # Found there from now on, without coming here: names are few, and calls are many.
            self.__dict__[name] = named
        return named

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the remote function, or take options where no function is named yet.

        Returns:
            What the client's ``call``, ``defer`` or ``cast`` returns; or a new `PrettyCaller`.

        Raises:
            TypeError: Arguments, but no function named; or an unknown option.
            ValueError: The name of the function has control characters.
        """
        if self._name:
            return self._invoke(self._name, self._options, args, kwargs)
        if args:
            raise TypeError(
                "no remote function is named: write client.call.name(...), client.defer.name(...) or "
                "client.cast.name(...), or with the name as text client.call(function_name='name')(...)"
            )
        for option in kwargs:
            if option not in self._allowed:
                raise TypeError(self._unknown(option))
        options = {**self._options, **kwargs}
        name = options.pop("function_name", None) or ""
        if not isinstance(name, str):
            raise TypeError(f"function_name must be a str, not {name!r}")
        printable_name(name, "function_name")
        return PrettyCaller(self._invoke, self._allowed, name, options)

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in self._options.items())
        return f"<PrettyCaller {self._name or '(no function yet)'}{f' {options}' if options else ''}>"

    def _unknown(self, option: str) -> str:
        close = difflib.get_close_matches(option, self._allowed, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        return f"unknown option {option!r}{hint} (options: {', '.join(self._allowed)})"
