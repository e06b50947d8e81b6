"""Requests and replies: to and from message properties and bodies.

The wire format is that of Amphora 0.1, extended so that 0.1.3 still understands it: a request is
``{"func": name, "args": [...], "kwargs": {...}}``, a reply ``{"result": value}`` or
``{"exception": {"type": class_name, "args": [...]}}``. A reply carries the request's ``message_id``.

Whatever arrives, the readers here return a value or raise `WrongRequest` or `WrongResult`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from amphora.exceptions import AmqpRpcException, DeadLettered, Forbidden, RemoteException, WrongRequest, WrongResult
from amphora.interrupts import let_through
from amphora.protocol.deadlines import deadline_header
from amphora.serializers import AbstractRpcSerializer, RpcJsonSerializer

__all__ = [
    "PERSISTENT",
    "Codec",
    "Failure",
    "Request",
    "Result",
    "message_id_of",
    "reply_properties",
    "request_properties",
]

#: ``delivery_mode`` of a message that survives a restart of the broker (AMQP 0-9-1, 4.6).
PERSISTENT = 2

#: Encodes the exceptions that an endpoint's own serializer fails at.
_LAST_RESORT = RpcJsonSerializer()

#: Errors that are the server's and not a function's, by the names under which they travel.
_OF_THE_SERVER: dict[str, type[AmqpRpcException]] = {
    each.__name__: each for each in (DeadLettered, Forbidden, WrongRequest)
}

#: Before such a name where a function raised it: so no client, of any release, takes it for the server's.
_RAISED = "amphora."

#: Exceptions of further calls, one in another, that travel at most.
_CHAIN = 5

#: Text of an unreadable body that an error quotes, at most.
_QUOTED = 200


class Request(NamedTuple):
    """A request as it was read."""

    function: str
    args: list[Any]
    kwargs: dict[str, Any]


class Result(NamedTuple):
    """A remote function's result."""

    value: Any


class Failure(NamedTuple):
    """What a remote call failed with: a `RemoteException`, `WrongRequest`, `DeadLettered` or `WrongResult`."""

    error: AmqpRpcException


def request_properties(
    message_id: str,
    *,
    reply_to: str | None,
    content_type: str,
    timestamp: int,
    deadline: float | None = None,
    headers: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the properties of a request; its ``expiration`` depends on when it is sent.

    Without ``reply_to`` it is a cast.
    """
    properties: dict[str, Any] = {
        "content_type": content_type,
        "delivery_mode": PERSISTENT,
        "correlation_id": message_id,
        "message_id": message_id,
        "timestamp": timestamp,
    }
    if reply_to is not None:
        properties["reply_to"] = reply_to
    if headers:
        properties["headers"] = dict(headers)
    if deadline is not None:
        properties["headers"] = {**(headers or {}), **deadline_header(deadline)}
    return properties


def reply_properties(message_id: str | None, *, content_type: str) -> dict[str, Any]:
    """Return the properties of the reply to the request with that id."""
    properties: dict[str, Any] = {"content_type": content_type, "delivery_mode": PERSISTENT}
    if message_id is not None:
        properties["correlation_id"] = message_id
        properties["message_id"] = message_id
    return properties


def message_id_of(properties: Mapping[str, Any]) -> str | None:
    """Return the id that ties request and reply together.

    ``message_id`` as 0.1.3 has it; ``correlation_id`` where only that is there.
    """
    message_id: str | None = properties.get("message_id") or properties.get("correlation_id")
    return message_id


class Codec:
    """Encodes with one serializer, decodes with it or with any other that is accepted.

    Args:
        serializer: Encodes requests, and is taken for messages without a content type.
        accepted: Further serializers whose content types are understood.
        max_size: Bytes of a body that is decoded, at most; None for any number.

    Attributes:
        content_type: Content type of what is encoded here, unless it answers another one.
    """

    def __init__(
        self,
        serializer: AbstractRpcSerializer,
        accepted: Iterable[AbstractRpcSerializer] = (),
        *,
        max_size: int | None = None,
    ) -> None:
        self._own = serializer
        self.content_type = serializer.content_type
        self._max_size = math.inf if max_size is None else max_size
        self._by_type: dict[str | None, AbstractRpcSerializer] = {
            **{each.content_type: each for each in (*accepted, serializer)},
            # A message of 0.1 has none.
            None: serializer,
            "": serializer,
        }

    def encode_request(self, function: str, args: Iterable[Any], kwargs: dict[str, Any]) -> bytes:
        """Encode a request's body.

        Raises:
            TypeError: An argument cannot be encoded.
        """
        try:
            body = self._own.dumps({"func": function, "args": list(args), "kwargs": kwargs})
            if not isinstance(body, bytes):
                raise _not_bytes(self._own, body)
        except Exception as error:
            let_through(error)
            raise TypeError(f"arguments of {function!r} cannot be encoded as {self.content_type}: {error}") from error
        return body

    def read_request(self, properties: Mapping[str, Any], body: bytes) -> Request:
        """Decode a request.

        Raises:
            WrongRequest: It cannot be read, or is too large; the text says why.
        """
        if len(body) > self._max_size:
            raise WrongRequest(
                f"The request has {len(body)} bytes, and this server reads {self._max_size} at most (max_received_size)"
            )
        try:
            content_type = properties.get("content_type")
            value = (self._by_type.get(content_type) or self._serializer(content_type)).loads(body)
        except Exception as error:
            let_through(error)
            raise WrongRequest(f"Unreadable request: {error}; body: {_quoted(body)}") from error
        try:
            function, args, kwargs = value["func"], value["args"], value["kwargs"]
        except (TypeError, KeyError, IndexError) as error:
            raise WrongRequest(f"A request needs the members func, args and kwargs; body: {_quoted(body)}") from error
        if not isinstance(function, str):
            raise WrongRequest(f"func must be text; body: {_quoted(body)}")
        if not isinstance(args, (list, tuple)):
            raise WrongRequest(f"args must be a list; body: {_quoted(body)}")
        if not isinstance(kwargs, dict) or (kwargs and not all(isinstance(key, str) for key in kwargs)):
            raise WrongRequest(f"kwargs must be an object with names; body: {_quoted(body)}")
        return Request(function, list(args), kwargs)

    def encode_result(self, value: Any, *, content_type: str | None) -> tuple[str, bytes]:
        """Encode a result in the content type of its request.

        Returns:
            Content type and body. A value that cannot be encoded becomes the encoded `TypeError`
            that says so: a caller is always answered.
        """
        serializer = self._by_type.get(content_type) or self._replying(content_type)
        try:
            body = serializer.dumps({"result": value})
            if not isinstance(body, bytes):
                raise _not_bytes(serializer, body)
        except Exception as error:  # noqa: BLE001  (a user's serializer)
            let_through(error)
            text = f"the result cannot be encoded as {serializer.content_type}: {_text(error)}"
            return self.encode_error(TypeError(text), content_type=content_type)
        return serializer.content_type, body

    def encode_error(
        self,
        error: BaseException,
        *,
        content_type: str | None,
        traceback: str | None = None,
        of_function: bool = False,
    ) -> tuple[str, bytes]:
        """Encode what a function raised, or what the server has decided; what cannot be encoded travels as text.

        Args:
            error: The exception.
            content_type: Content type of the request.
            traceback: The traceback as text, where the caller is to get it.
            of_function: Whether a function raised it: then it does not pass for a decision of the server.

        Returns:
            Content type and body. Those of JSON where the serializer fails at everything: a caller
            who cannot read the answer knows more than one who gets none.
        """
        serializer = self._replying(content_type)
        name = type(error).__name__
        if of_function and name in _OF_THE_SERVER:
            name = f"{_RAISED}{name}"
        exception: dict[str, Any] = {"type": name, "args": _arguments(error)}
        if traceback is not None:
            exception["traceback"] = traceback
        if isinstance(error, RemoteException):
            exception["cause"] = _described(error, _CHAIN)
        for plainer in _ever_plainer(serializer, exception):
            try:
                return serializer.content_type, _dumps(serializer, {"exception": plainer})
            except Exception as failure:  # noqa: BLE001  (a user's serializer)
                let_through(failure)
        return _LAST_RESORT.content_type, _LAST_RESORT.dumps({"exception": plainer})

    def read_reply(self, properties: Mapping[str, Any], body: bytes) -> Result | Failure:
        """Decode a reply; one that cannot be read is a `Failure` with a `WrongResult`."""
        if len(body) > self._max_size:
            text = (
                f"The reply has {len(body)} bytes, and this client reads {self._max_size} at most (max_received_size)"
            )
            return Failure(WrongResult(text))
        try:
            content_type = properties.get("content_type")
            value = (self._by_type.get(content_type) or self._serializer(content_type)).loads(body)
        except Exception as error:  # noqa: BLE001  (a user's serializer)
            let_through(error)
            return Failure(WrongResult(f"Unreadable reply: {error}; body: {_quoted(body)}"))
        if not isinstance(value, dict):
            return Failure(WrongResult(f"A reply must be an object; body: {_quoted(body)}"))
        if "exception" in value:
            return Failure(_read_exception(value["exception"], body))
        if "result" in value:
            return Result(value["result"])
        return Failure(WrongResult(f"Neither result nor exception in it; body: {_quoted(body)}"))

    def _serializer(self, content_type: Any) -> AbstractRpcSerializer:
        found = self._find(content_type)
        if found is None:
            accepted = ", ".join(sorted(filter(None, self._by_type)))
            raise ValueError(f"content type {content_type!r} is not accepted here (accepted: {accepted})")
        return found

    def _replying(self, content_type: str | None) -> AbstractRpcSerializer:
        return self._find(content_type) or self._own

    def _find(self, content_type: str | None) -> AbstractRpcSerializer | None:
        if not content_type:
            return self._own
        # (What is bare may be empty, which is not as good as none.)
        bare = _bare(content_type)
        return self._by_type.get(content_type) or (self._by_type.get(bare) if bare else None)


def _bare(content_type: str) -> str:
    """Drop parameters such as ``; charset=utf-8``."""
    return content_type.partition(";")[0].strip().lower()


def _read_exception(value: Any, body: bytes) -> AmqpRpcException:
    if isinstance(value, dict):
        error_type, args = value.get("type"), value.get("args")
        if isinstance(error_type, str) and isinstance(args, (list, tuple)):
            own = _OF_THE_SERVER.get(error_type)
            if own is not None:
                return own(*args)
            raised = error_type.removeprefix(_RAISED)
            error = _remote_exception({**value, "type": raised if raised in _OF_THE_SERVER else error_type}, _CHAIN)
            if error is not None:
                return error
    return WrongResult(f"An exception needs a type and a list of args; body: {_quoted(body)}")


def _remote_exception(value: Any, depth: int) -> RemoteException | None:
    """Return the exception that was described, with those in it; None if it cannot be read."""
    if not isinstance(value, dict):
        return None
    error_type, args, traceback = value.get("type"), value.get("args"), value.get("traceback")
    if not isinstance(error_type, str) or not isinstance(args, (list, tuple)):
        return None
    error = RemoteException(error_type, tuple(args), traceback if isinstance(traceback, str) else None)
    if depth:
        error.__cause__ = _remote_exception(value.get("cause"), depth - 1)
    return error


def _described(error: RemoteException, depth: int) -> dict[str, Any]:
    """Describe an exception of a further call, and those in it."""
    described: dict[str, Any] = {"type": error.error_type, "args": list(error.args)}
    if error.remote_traceback is not None:
        described["traceback"] = error.remote_traceback
    if depth > 1 and isinstance(error.__cause__, RemoteException):
        described["cause"] = _described(error.__cause__, depth - 1)
    return described


def _dumps(serializer: AbstractRpcSerializer, value: Any) -> bytes:
    body = serializer.dumps(value)
    if not isinstance(body, bytes):
        raise _not_bytes(serializer, body)
    return body


def _not_bytes(serializer: AbstractRpcSerializer, body: object) -> TypeError:
    # Found out later, in the outbox, it would break every connection that tries to send it.
    return TypeError(f"{type(serializer).__name__}.dumps returned a {type(body).__name__}, not bytes")


def _arguments(error: BaseException) -> list[Any]:
    if isinstance(error, RemoteException):
        # One of a further call is told whole; its bare args would lose the type.
        return [_text(error)]
    try:
        return list(error.args)
    except Exception:  # noqa: BLE001
        # A user's exception may have something else under that name.
        return [_text(error)]


def _ever_plainer(serializer: AbstractRpcSerializer, exception: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Return the exception whole, then with text where the serializer cannot take something, then all in text."""
    yield exception
    yield _plainer(exception, lambda arg: _encodable(serializer, arg))
    yield _plainer(exception, _text)


def _plainer(exception: dict[str, Any], plain: Callable[[Any], Any]) -> dict[str, Any]:
    plainer: dict[str, Any] = {name: _text(value) for name, value in exception.items()}
    plainer["args"] = [plain(arg) for arg in exception["args"]]
    if "cause" in exception:
        plainer["cause"] = _plainer(exception["cause"], plain)
    return plainer


def _encodable(serializer: AbstractRpcSerializer, value: Any) -> Any:
    """Return the value, or text that stands for it where the serializer cannot take it."""
    try:
        serializer.dumps({"result": value})
    except Exception as error:  # noqa: BLE001  (a user's serializer)
        let_through(error)
        return _text(value)
    return value


def _text(value: Any) -> str:
    """Return a value as text that UTF-8 has bytes for."""
    try:
        return str(value).encode("utf-8", "backslashreplace").decode()
    except Exception:  # noqa: BLE001
        # A user's broken __str__ must not cost the caller its answer.
        return f"<{type(value).__name__} without readable text>"


def _quoted(body: bytes) -> str:
    shown = repr(bytes(body[:_QUOTED]))
    return shown if len(body) <= _QUOTED else f"{shown}... ({len(body)} bytes)"
