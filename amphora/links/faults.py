"""What went wrong with the broker: drivers' errors into ours, with the cause in words."""

from __future__ import annotations

import re
import socket as stdlib_socket
import ssl as stdlib_ssl
from typing import NamedTuple

import amqp
from amqp.exceptions import AMQPError, ChannelError
from kombu.transport.virtual.base import NotEquivalentError

from amphora.driver.mechanisms import NoMechanism, SmallFrames, explain_mechanisms
from amphora.driver.progress import Unanswered
from amphora.driver.tls_faults import NoTls, TlsPort, explain_tls
from amphora.exceptions import (
    AccessRefused,
    BrokerError,
    BrokerUnreachable,
    TopologyConflict,
    VhostNotFound,
)
from amphora.options.brokers import BrokerAddress

__all__ = ["Fault", "explain"]


#: What RabbitMQ says of a queue of another type: "current is none" until 3.11, "current is 'classic'" since.
_QUEUE_TYPE = re.compile(
    r"inequivalent arg 'x-queue-type' for queue '(?P<queue>.*?)' in vhost.*current is (the value )?'?(?P<current>\w+)"
)

#: Arguments of a request queue that follow from its type and limit. The broker names the first one that differs.
_TYPE_OR_LIMIT = re.compile(
    r"inequivalent arg 'x-(delivery-limit|dead-letter-exchange|dead-letter-routing-key)' for queue '(?P<queue>.*?)' in"
)


class Fault(NamedTuple):
    """An error explained.

    Attributes:
        error: The error for the user; its cause is the driver's.
        fatal: Whether trying again cannot help until somebody changes something.
        unexpected: Whether it is none of the errors that a network or a broker makes.
        local: Whether it is about this one address; another node of the cluster may do better.
    """

    error: BrokerError
    fatal: bool
    unexpected: bool = False
    local: bool = False


def explain(error: Exception, address: BrokerAddress | str) -> Fault:
    """Explain an error of the connection or of a channel.

    Args:
        error: Raised by the driver or the operating system.
        address: The broker it is about.
    """
    fault = _explain(error, address)
    fault.error.__cause__ = error
    return fault


def _explain(error: Exception, address: BrokerAddress | str) -> Fault:
    if isinstance(error, BrokerError):
        return Fault(error, fatal=True)
    user = address.user if isinstance(address, BrokerAddress) else "the user"
    vhost = address.vhost if isinstance(address, BrokerAddress) else "?"
    text = _reply_text(error)
    if isinstance(error, amqp.AccessRefused):
        if "mechanism EXTERNAL" in text:
            why = "the client certificate is not that of a user of the broker"
        elif error.method_name == "" or "login" in text.lower():
            why = f"wrong user or password for {user!r}"
        else:
            why = f"user {user!r} lacks a permission"
        return Fault(AccessRefused(f"the broker at {address} refuses access: {why} ({text})"), True)
    if isinstance(error, amqp.NotAllowed):
        return _not_allowed(text, address, user, vhost)
    if isinstance(error, amqp.PreconditionFailed):
        return Fault(TopologyConflict(_conflict(text, address)), True)
    if isinstance(error, NotEquivalentError):
        # Kombu's memory transport; exchanges of ours differ in nothing but their type.
        return Fault(TopologyConflict(_shared_name(text, address)), True)
    if isinstance(error, amqp.ConsumerCancelled):
        return Fault(BrokerUnreachable(f"the broker at {address} cancelled a consumer"), False)
    if isinstance(error, ChannelError):
        return Fault(BrokerError(f"the broker at {address} refuses: {text}"), False)
    if isinstance(error, SmallFrames):
        return Fault(BrokerUnreachable(f"the broker at {address} cannot be used: {error}"), True, local=True)
    if isinstance(error, NoMechanism):
        why = explain_mechanisms(error)
        return Fault(AccessRefused(f"the broker at {address} cannot be logged in to: {why}"), True)
    if isinstance(error, AMQPError):
        return Fault(BrokerUnreachable(f"the broker at {address} ended it: {text}"), False)
    if isinstance(error, NoTls):
        why = "this port speaks plain AMQP: name the broker's TLS port, usually 5671, or leave TLS out"
        return Fault(BrokerUnreachable(f"no TLS with the broker at {address}: {why}"), True, local=True)
    if isinstance(error, TlsPort):
        why = "this port wants TLS: begin the URL with amqps://, or give ssl="
        return Fault(BrokerUnreachable(f"no connection to the broker at {address}: {why}"), True, local=True)
    if isinstance(error, stdlib_ssl.SSLError):
        why, fatal = explain_tls(error)
        return Fault(BrokerUnreachable(f"no TLS with the broker at {address}: {why}"), fatal, local=True)
    if isinstance(error, stdlib_socket.gaierror):
        why = f"its host name cannot be resolved: {error.strerror}"
        return Fault(BrokerUnreachable(f"the broker at {address} cannot be found: {why}"), False)
    if isinstance(error, Unanswered):
        return Fault(BrokerUnreachable(f"the broker at {address}: {error} (is the node of the queue down?)"), False)
    if isinstance(error, OSError):
        why = error.strerror or str(error) or type(error).__name__
        return Fault(BrokerUnreachable(f"no connection to the broker at {address}: {why}"), False)
    why = f"{type(error).__name__}: {error}"
    return Fault(BrokerError(f"trouble with the broker at {address}: {why}"), False, True)


def _not_allowed(text: str, address: BrokerAddress | str, user: str, vhost: str) -> Fault:
    if "not found" in text:
        return Fault(VhostNotFound(f"the broker at {address} has no vhost {vhost!r} ({text})"), True)
    # A limit on connections is no refusal for good: others may leave, as in a rolling restart.
    if "refused" in text and "is reached" not in text:
        why = f"user {user!r} may not use vhost {vhost!r}"
        return Fault(AccessRefused(f"the broker at {address} refuses access: {why} ({text})"), True)
    return Fault(BrokerUnreachable(f"the broker at {address} refuses the connection: {text}"), False)


def _conflict(text: str, address: BrokerAddress | str) -> str:
    if "inequivalent arg 'type' for exchange" in text:
        return _shared_name(text, address)
    types = _QUEUE_TYPE.search(text)
    if types:
        return _other_type(types["queue"], types["current"], address, text)
    type_or_limit = _TYPE_OR_LIMIT.search(text)
    if type_or_limit:
        return _other_type_or_limit(type_or_limit["queue"], address, text)
    if "inequivalent arg" in text:
        return (
            f"it exists on the broker at {address} with other properties than Amphora declares; "
            f"delete it, or choose another name ({text})"
        )
    return f"the broker at {address} refuses: {text}"


def _other_type(queue: str, current: str, address: BrokerAddress | str, text: str) -> str:
    current = "classic" if current == "none" else current
    if current not in ("classic", "quorum"):
        return (
            f"queue {queue!r} on the broker at {address} is a {current} queue, which Amphora cannot use. Delete it "
            f"(rabbitmqctl delete_queue {queue}), or choose another name ({text})"
        )
    return (
        f"queue {queue!r} on the broker at {address} is a {current} queue, and the type of a queue cannot be changed. "
        f"Either give queue_type={current!r} or 'auto' to every client and server of the service, or migrate: "
        f"{_migration(queue)} with the new queue_type ({text})"
    )


def _other_type_or_limit(queue: str, address: BrokerAddress | str, text: str) -> str:
    return (
        f"queue {queue!r} on the broker at {address} was declared with another queue_type or delivery_limit, and a "
        f"queue cannot be changed. Either give every client and server of the service the same ones, or "
        f"queue_type='auto', or migrate: "
        f"{_migration(queue)} with the new ones ({text})"
    )


def _migration(queue: str) -> str:
    return (
        f"stop its clients, let its servers empty the queue, stop them, delete it (rabbitmqctl delete_queue {queue}), "
        "and start all of them"
    )


def _shared_name(text: str, address: BrokerAddress | str) -> str:
    return (
        f"a direct and a fan-out service cannot share one name; choose another service_name "
        f"for one of them (the broker at {address} says: {text})"
    )


def _reply_text(error: Exception) -> str:
    text = getattr(error, "reply_text", None)
    return str(text) if text else str(error)
