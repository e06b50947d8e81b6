"""Every exception that Amphora raises.

They carry what a program needs as attributes. Their texts are for people, and may change in any release. All of them
can be pickled and copied, with their arguments and attributes.

::

    AmqpRpcException              root of all of them
    ├── NoResult                  no reply within the timeout
    ├── WrongRequest              the server could not read the request, or has no such function
    │   └── Forbidden             the user of the broker may not call the function
    ├── WrongResult               the client could not read the reply
    ├── RemoteException           the remote function raised an exception
    ├── DeadLettered              the request was given up after too many tries
    ├── IgnoreRequest             raised *by* a remote function: not me, give it to another server
    ├── Unroutable                no queue takes the request
    ├── Backlogged                too many unconfirmed requests, no room within the timeout
    └── BrokerError               the broker, or the way to it, is the trouble
        ├── BrokerUnreachable     nothing answers at the address, the connection broke, or TLS cannot work
        ├── AccessRefused         wrong user or password, or a missing permission
        ├── VhostNotFound         the virtual host does not exist
        ├── TopologyConflict      an exchange or queue exists with other properties
        ├── PublishNacked         the broker refused (nacked) the message
        ├── MessageRejected       the message cannot be encoded, or the broker closes the channel because of it
        └── MessageTooLarge       the message is larger than the broker or the settings allow
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Any, TypedDict, Unpack

__all__ = [
    "AccessRefused",
    "AmqpRpcException",
    "Backlogged",
    "BrokerError",
    "BrokerUnreachable",
    "DeadLettered",
    "Forbidden",
    "IgnoreRequest",
    "MessageRejected",
    "MessageTooLarge",
    "NoResult",
    "PublishNacked",
    "RemoteException",
    "RequestStage",
    "TopologyConflict",
    "Unroutable",
    "VhostNotFound",
    "WrongRequest",
    "WrongResult",
]


class RequestStage(Enum):
    """How far a request is known to have come when its call ended without a reply.

    Attributes:
        NOT_SENT: It has not been sent, and has not run. The client sends it when the broker takes messages again,
            unless the client exits or the request's deadline passes first.
        SENT: It was sent, but the broker has not confirmed it. It may have run, and may still run.
        CONFIRMED: The broker has confirmed it. It may have run, and may still run.
    """

    NOT_SENT = "not sent"
    SENT = "sent"
    CONFIRMED = "confirmed"


class _Ids(TypedDict, total=False):
    """Keyword arguments of every exception."""

    function: str | None
    request_id: str | None


class _Details(_Ids, total=False):
    """Those of every `BrokerError`."""

    reply_code: int | None
    reply_text: str | None
    advice: str | None


class AmqpRpcException(Exception):
    """Root of every exception that Amphora raises on purpose.

    A wrong argument is a plain ``ValueError`` or ``TypeError``, as everywhere in Python.

    Attributes:
        function (str | None): Name of the remote function, where the exception ends a call of a client.
        request_id (str | None): Id of the request (its ``message_id``), where one was made for that call.
    """

    # (On the class too: for subclasses of users that do not call `__init__`.)
    function: str | None = None
    request_id: str | None = None

    def __init__(self, *args: Any, function: str | None = None, request_id: str | None = None) -> None:
        super().__init__(*args)
        self.function = function
        self.request_id = request_id


class NoResult(AmqpRpcException):
    """No reply arrived within the timeout.

    The request may have run, may be running or may run later (not after its deadline, where it was sent
    with ``expires``): the ``stage`` says how far it is known to have come.

    Attributes:
        stage (RequestStage | None): How far the request is known to have come; None where that is not known.
        timeout (float | None): Seconds that the caller gave it; None for no limit.
        function (str | None): See `AmqpRpcException`.
        request_id (str | None): See `AmqpRpcException`.
    """

    stage: RequestStage | None = None
    timeout: float | None = None

    def __init__(
        self,
        *args: Any,
        stage: RequestStage | None = None,
        timeout: float | None = None,
        function: str | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(*args, function=function, request_id=request_id)
        self.stage = stage
        self.timeout = timeout


class WrongRequest(AmqpRpcException):
    """The server could not read the request, has no such function, or refuses it; the request has not run.

    Only what the server itself has decided is raised as such. One that a remote function raises, or that comes to it
    from a call of its own, is a `RemoteException` for its caller, with the ``error_type`` ``"WrongRequest"``. The same
    holds for `Forbidden` and `DeadLettered`.
    """


class Forbidden(WrongRequest):
    """The user of the broker may not call this function, or the request does not name its user; it has not run.

    See `require_user`.
    """


class WrongResult(AmqpRpcException):
    """The client could not read the reply; the remote function has run."""


class RemoteException(AmqpRpcException):
    """The remote function raised an exception.

    Prints like the remote exception would: ``TypeError: unsupported operand``. It can be pickled
    and copied.

    Where the remote function let a `RemoteException` of a call of its own escape, the ``error_type`` is
    ``"RemoteException"``, and ``__cause__`` is that exception, with its own type and arguments.

    Args:
        error_type: Class name of the remote exception, such as ``"ValueError"``.
        args: The arguments the remote exception was made with, as far as they could be encoded.
        remote_traceback: The remote traceback as text, where the server sends it (see
            ``send_tracebacks`` of `AmqpRpcServer`), else None.

    Attributes:
        error_type (str): Class name of the remote exception.
        args (tuple): Arguments of the remote exception.
        remote_traceback (str | None): The remote traceback.
    """

    def __init__(self, error_type: str, args: Any = (), remote_traceback: str | None = None) -> None:
        super().__init__(*args)
        self.error_type = error_type
        self.remote_traceback = remote_traceback

    def __str__(self) -> str:
        text = super().__str__()
        return f"{self.error_type}: {text}" if text else self.error_type

    def __repr__(self) -> str:
        return f"RemoteException({self.error_type!r}, {self.args!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        state = dict(self.__dict__)
        if isinstance(self.__cause__, RemoteException):
            # That of a further call, which is a part of what the server has told.
            state["__cause__"] = self.__cause__
        return type(self), (self.error_type, self.args, self.remote_traceback), state


class DeadLettered(AmqpRpcException):
    """The request was given up after ``delivery_limit`` tries, and is in the dead-letter queue now.

    It was begun each time, but never finished: its server died or lost its connection, or the function
    raised `IgnoreRequest`. Told by the server that would have made one more try.
    """


class IgnoreRequest(AmqpRpcException):
    """Raise it in a remote function to decline the request.

    `AmqpRpcServer` gives the request back to the queue, for another server or for a later try.
    `AmqpRpcFanoutServer` acknowledges it and replies nothing.
    """


class Unroutable(AmqpRpcException):
    """No queue takes the request: the label's queue was not created, expired or was removed.

    For a fan-out service: no server is connected. The request has not run.

    Attributes:
        exchange (str | None): Exchange that the request was published to.
        routing_key (str | None): Routing key that it was published with.
    """

    exchange: str | None = None
    routing_key: str | None = None

    def __init__(
        self, *args: Any, exchange: str | None = None, routing_key: str | None = None, **ids: Unpack[_Ids]
    ) -> None:
        super().__init__(*args, **ids)
        self.exchange = exchange
        self.routing_key = routing_key


class Backlogged(AmqpRpcException):
    """The outbox is full of requests that the broker has not confirmed yet.

    Raised when no room came within the timeout. The request was not sent and will not be.

    Attributes:
        messages (int | None): How many messages the outbox held; None where the client was stopped.
        size (int | None): How many bytes these had.
    """

    messages: int | None = None
    size: int | None = None

    def __init__(self, *args: Any, messages: int | None = None, size: int | None = None, **ids: Unpack[_Ids]) -> None:
        super().__init__(*args, **ids)
        self.messages = messages
        self.size = size


class BrokerError(AmqpRpcException):
    """The broker, or the connection to it, is the cause; the text names the cause and the address.

    Attributes:
        reply_code (int | None): Reply code of AMQP (0-9-1, 1.2) from the broker, such as 403; None where it gave none.
        reply_text (str | None): The text that the broker gave with it.
        advice (str | None): The option of clients and servers that the text advises to set, as it is written there,
            such as ``ssl={'ca_certs': ...}``; None where it advises none.
    """

    reply_code: int | None = None
    reply_text: str | None = None
    advice: str | None = None

    def __init__(
        self,
        *args: Any,
        reply_code: int | None = None,
        reply_text: str | None = None,
        advice: str | None = None,
        **ids: Unpack[_Ids],
    ) -> None:
        super().__init__(*args, **ids)
        self.reply_code = reply_code
        self.reply_text = reply_text
        self.advice = advice


class BrokerUnreachable(BrokerError):
    """The broker does not answer at its address, the connection broke, or TLS cannot work.

    Attributes:
        errno (int | None): Number of the operating system's error, such as `errno.ECONNREFUSED`; `errno.ETIMEDOUT`
            where the broker did not answer in time; None where it was another error.
        tls (bool): Whether TLS is the cause.
        answered (dict[str, QueueStatus | None]): What `queue_status` found out about the other queues; None for those
            that do not exist.
        unanswered (tuple[str, ...]): Names of the queues about which the broker did not answer `queue_status`.
    """

    errno: int | None = None
    tls: bool = False
    answered: Mapping[str, Any] = MappingProxyType({})
    unanswered: tuple[str, ...] = ()

    def __init__(self, *args: Any, errno: int | None = None, tls: bool = False, **details: Unpack[_Details]) -> None:
        super().__init__(*args, **details)
        self.errno = errno
        self.tls = tls


class AccessRefused(BrokerError):
    """The broker refuses the user, the password, or a permission that the user lacks.

    Attributes:
        login_failed (bool): Whether the user could not log in; otherwise the user lacks a permission.
    """

    login_failed: bool = False

    def __init__(self, *args: Any, login_failed: bool = False, **details: Unpack[_Details]) -> None:
        super().__init__(*args, **details)
        self.login_failed = login_failed


class VhostNotFound(BrokerError):
    """The virtual host does not exist on the broker."""


class TopologyConflict(BrokerError):
    """An exchange or queue of that name exists with other properties."""


class PublishNacked(BrokerError):
    """The broker refused (nacked) the message, as a full queue with ``reject-publish`` does.

    With ``queue_type="quorum"`` the message was sent again for 30 s before: such a queue refuses messages while its
    nodes elect a leader, too.

    Attributes:
        exchange (str | None): Exchange that the message was published to.
        routing_key (str | None): Routing key that it was published with.
    """

    exchange: str | None = None
    routing_key: str | None = None

    def __init__(
        self, *args: Any, exchange: str | None = None, routing_key: str | None = None, **details: Unpack[_Details]
    ) -> None:
        super().__init__(*args, **details)
        self.exchange = exchange
        self.routing_key = routing_key


class MessageRejected(BrokerError):
    """The message can never be sent: AMQP cannot express it, or the broker closes the channel because of it.

    Other messages are not affected. The request has not run.
    """


class MessageTooLarge(BrokerError):
    """The message is larger than ``max_message_size``, or than the broker's own limit.

    Attributes:
        size (int | None): Bytes of its body.
        limit (int | None): Bytes that are allowed.
    """

    size: int | None = None
    limit: int | None = None

    def __init__(
        self, *args: Any, size: int | None = None, limit: int | None = None, **details: Unpack[_Details]
    ) -> None:
        super().__init__(*args, **details)
        self.size = size
        self.limit = limit
