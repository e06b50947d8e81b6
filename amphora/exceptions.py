"""Every exception that Amphora raises.

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
        ├── BrokerUnreachable     nobody answers at the address, the connection broke, or TLS cannot work
        ├── AccessRefused         wrong user or password, or a missing permission
        ├── VhostNotFound         the virtual host does not exist
        ├── TopologyConflict      an exchange or queue exists with other properties
        ├── PublishNacked         the broker refused (nacked) the message
        ├── MessageRejected       the message cannot be encoded, or the broker closes the channel because of it
        └── MessageTooLarge       the message is larger than the broker or the settings allow
"""

from __future__ import annotations

from typing import Any

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
    "TopologyConflict",
    "Unroutable",
    "VhostNotFound",
    "WrongRequest",
    "WrongResult",
]


class AmqpRpcException(Exception):
    """Root of every exception that Amphora raises on purpose.

    A wrong argument is a plain ``ValueError`` or ``TypeError``, as everywhere in Python.
    """


class NoResult(AmqpRpcException):
    """No reply came within the timeout.

    The request may have run, may be running or may run later (not after its deadline, where it was sent
    with ``expires``): the text says how far it is known to have come (never sent, sent but not confirmed,
    confirmed by the broker).
    """


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
        return type(self), (self.error_type, self.args, self.remote_traceback)


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
    """No queue takes the request: nobody created the label's queue, or it expired or was removed.

    For a fan-out service: no server is connected. The request has not run.
    """


class Backlogged(AmqpRpcException):
    """The outbox is full of requests that the broker has not confirmed yet.

    Raised when no room came within the timeout. The request was not sent and will not be.
    """


class BrokerError(AmqpRpcException):
    """The broker, or the way to it, is the trouble; the text names the cause and the address."""


class BrokerUnreachable(BrokerError):
    """Nobody answers at the broker's address, the connection broke, or TLS cannot work."""


class AccessRefused(BrokerError):
    """The broker refuses the user, the password, or a permission that the user lacks."""


class VhostNotFound(BrokerError):
    """The virtual host does not exist on the broker."""


class TopologyConflict(BrokerError):
    """An exchange or queue of that name exists with other properties."""


class PublishNacked(BrokerError):
    """The broker refused (nacked) the message, as a full queue with ``reject-publish`` does.

    With ``queue_type="quorum"`` the message was sent again for 30 s before: such a queue refuses messages while its
    nodes elect a leader, too.
    """


class MessageRejected(BrokerError):
    """The message can never be sent: AMQP cannot express it, or the broker closes the channel because of it.

    Other messages are not affected. The request has not run.
    """


class MessageTooLarge(BrokerError):
    """The message is larger than ``max_message_size``, or than the broker's own limit."""
