"""What went wrong with the broker: drivers' errors into ours, with the cause in words."""

from __future__ import annotations

import errno
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
from amphora.links import reply_texts
from amphora.links.reply_texts import reply_code, reply_text
from amphora.options.advice import USE_TLS
from amphora.options.brokers import BrokerAddress

__all__ = ["Fault", "explain"]


class Fault(NamedTuple):
    """An error explained.

    Attributes:
        error: The error for the user; its cause is the driver's.
        fatal: Whether trying again cannot help until something is changed.
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
    if fault.error is not error:
        fault.error.__cause__ = error
        fault.error.reply_code = reply_code(error)
        fault.error.reply_text = reply_text(error) if fault.error.reply_code is not None else None
    return fault


def _explain(error: Exception, address: BrokerAddress | str) -> Fault:
    if isinstance(error, BrokerError):
        return Fault(error, fatal=True)
    user = address.user if isinstance(address, BrokerAddress) else "the user"
    vhost = address.vhost if isinstance(address, BrokerAddress) else "?"
    text = reply_text(error)
    if isinstance(error, amqp.AccessRefused):
        certificate = reply_texts.by_certificate(text)
        login = certificate or error.method_name == "" or reply_texts.by_password(text)
        if certificate:
            why = "the client certificate is not that of a user of the broker"
        elif login:
            why = f"wrong user or password for {user!r}"
        else:
            why = f"user {user!r} lacks a permission"
        told = f"the broker at {address} refuses access: {why} ({text})"
        return Fault(AccessRefused(told, login_failed=login), True)
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
        why, advice = explain_mechanisms(error)
        told = f"the broker at {address} cannot be logged in to: {why}"
        return Fault(AccessRefused(told, login_failed=True, advice=advice), True)
    if isinstance(error, AMQPError):
        return Fault(BrokerUnreachable(f"the broker at {address} ended it: {text}"), False)
    if isinstance(error, NoTls):
        why = "this port speaks plain AMQP: name the broker's TLS port, usually 5671, or leave TLS out"
        return Fault(BrokerUnreachable(f"no TLS with the broker at {address}: {why}", tls=True), True, local=True)
    if isinstance(error, TlsPort):
        told = f"no connection to the broker at {address}: this port wants TLS: {USE_TLS}"
        return Fault(BrokerUnreachable(told, tls=True, advice=USE_TLS), True, local=True)
    if isinstance(error, stdlib_ssl.SSLError):
        why, fatal, advice = explain_tls(error)
        told = f"no TLS with the broker at {address}: {why}"
        return Fault(BrokerUnreachable(told, tls=True, advice=advice), fatal, local=True)
    if isinstance(error, stdlib_socket.gaierror):
        why = f"its host name cannot be resolved: {error.strerror}"
        return Fault(BrokerUnreachable(f"the broker at {address} cannot be found: {why}"), False)
    if isinstance(error, Unanswered):
        return Fault(BrokerUnreachable(f"the broker at {address}: {error} (is the node of the queue down?)"), False)
    if isinstance(error, OSError):
        why = error.strerror or str(error) or type(error).__name__
        number = errno.ETIMEDOUT if isinstance(error, TimeoutError) else error.errno
        return Fault(BrokerUnreachable(f"no connection to the broker at {address}: {why}", errno=number), False)
    why = f"{type(error).__name__}: {error}"
    return Fault(BrokerError(f"trouble with the broker at {address}: {why}"), False, True)


def _not_allowed(text: str, address: BrokerAddress | str, user: str, vhost: str) -> Fault:
    if reply_texts.is_unknown_vhost(text):
        return Fault(VhostNotFound(f"the broker at {address} has no vhost {vhost!r} ({text})"), True)
    # (A limit on connections is no refusal for good: others may leave, as in a rolling restart.)
    if reply_texts.is_refusal(text):
        why = f"user {user!r} may not use vhost {vhost!r}"
        return Fault(AccessRefused(f"the broker at {address} refuses access: {why} ({text})"), True)
    return Fault(BrokerUnreachable(f"the broker at {address} refuses the connection: {text}"), False)


def _conflict(text: str, address: BrokerAddress | str) -> str:
    if reply_texts.is_other_exchange_type(text):
        return _shared_name(text, address)
    other_type = reply_texts.other_queue_type(text)
    if other_type is not None:
        return _other_type(*other_type, address, text)
    queue = reply_texts.other_type_or_limit(text)
    if queue is not None:
        return _other_type_or_limit(queue, address, text)
    if reply_texts.is_other_property(text):
        return (
            f"it exists on the broker at {address} with other properties than Amphora declares; "
            f"delete it, or choose another name ({text})"
        )
    return f"the broker at {address} refuses: {text}"


def _other_type(queue: str, current: str, address: BrokerAddress | str, text: str) -> str:
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
