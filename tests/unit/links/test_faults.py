"""What went wrong with the broker, in words and as one of our exceptions."""

import errno
import socket
import ssl
from typing import Any

import amqp
import pytest
from kombu.exceptions import OperationalError

from amphora.driver.channel import Silence
from amphora.driver.tls_faults import TlsPort
from amphora.exceptions import (
    AccessRefused,
    BrokerError,
    BrokerUnreachable,
    MessageTooLarge,
    TopologyConflict,
    VhostNotFound,
)
from amphora.links.faults import explain
from amphora.options.advice import USE_TLS
from amphora.options.brokers import BrokerAddress

ADDRESS = BrokerAddress("amqp", "rabbit", 5672, "alice", "secret", "orders")


def certificate_error() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed")
    error.verify_message = "self-signed certificate"
    return error


def refused(kind: type[amqp.AMQPError], text: str, code: int, method: str = "") -> amqp.AMQPError:
    return kind(text, (50, 10) if method else (0, 0), method, code)


FATAL: list[tuple[Exception, type[BrokerError], str]] = [
    (
        refused(amqp.AccessRefused, "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN.", 403),
        AccessRefused,
        r"the broker at amqp://alice@rabbit:5672/orders refuses access: wrong user or password for 'alice' \(ACCESS_",
    ),
    (
        refused(amqp.AccessRefused, "ACCESS_REFUSED - configure access to queue 'q' refused", 403, "Queue.declare"),
        AccessRefused,
        "user 'alice' lacks a permission .*configure access to queue 'q'",
    ),
    (
        refused(amqp.NotAllowed, "NOT_ALLOWED - vhost orders not found", 530),
        VhostNotFound,
        "the broker at .* has no vhost 'orders'",
    ),
    (
        refused(amqp.NotAllowed, "NOT_ALLOWED - access to vhost 'orders' refused for user 'alice'", 530),
        AccessRefused,
        "user 'alice' may not use vhost 'orders'",
    ),
    (
        refused(
            amqp.PreconditionFailed,
            "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'rpc_math_request' in vhost 'orders': "
            "received 'direct' but current is 'fanout'",
            406,
            "Exchange.declare",
        ),
        TopologyConflict,
        "a direct and a fan-out service cannot share one name; choose another service_name .*rpc_math_request",
    ),
    (
        refused(
            amqp.PreconditionFailed,
            "PRECONDITION_FAILED - inequivalent arg 'x-expires' for queue 'rpc_Alice_request'",
            406,
            "Queue.declare",
        ),
        TopologyConflict,
        "with other properties than Amphora declares; delete it, or choose another name .*rpc_Alice_request",
    ),
    *(
        (
            refused(
                amqp.PreconditionFailed,
                f"PRECONDITION_FAILED - inequivalent arg '{name}' for queue 'rpc_math_request' in vhost 'orders'",
                406,
                "Queue.declare",
            ),
            TopologyConflict,
            "queue 'rpc_math_request' .* with another queue_type or delivery_limit, .*delete_queue rpc_math_request",
        )
        for name in ("x-delivery-limit", "x-dead-letter-exchange", "x-dead-letter-routing-key")
    ),
    (certificate_error(), BrokerUnreachable, "its certificate is not valid here: self-signed certificate"),
]

PASSING: list[tuple[Exception, type[BrokerError], str]] = [
    (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), BrokerUnreachable, "orders: Connection refused"),
    (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), BrokerUnreachable, "Connection reset by peer"),
    (TimeoutError("timed out"), BrokerUnreachable, "no connection to the broker at .*: timed out"),
    (OSError(), BrokerUnreachable, "no connection to the broker at .*: OSError"),
    (Silence("no sign of life from the broker for 61.0 s"), BrokerUnreachable, "no sign of life .* for 61.0 s"),
    (socket.gaierror(-2, "Name or service not known"), BrokerUnreachable, "its host name cannot be resolved: Name or"),
    (ssl.SSLEOFError(8, "EOF occurred in violation of protocol"), BrokerUnreachable, r"\(is it a TLS port\?\)"),
    (ssl.SSLError(1, "[SSL] unknown error"), BrokerUnreachable, "no TLS .*unknown error"),
    (
        refused(amqp.ConnectionForced, "CONNECTION_FORCED - broker forced connection closure", 320),
        BrokerUnreachable,
        "ended it: CONNECTION_FORCED - broker forced",
    ),
    (refused(amqp.NotAllowed, "NOT_ALLOWED - node limit", 530), BrokerUnreachable, "refuses the connection: NOT_ALLOW"),
    (
        refused(amqp.NotAllowed, "NOT_ALLOWED - connection refused for user 'u': connection limit (1) is reached", 530),
        BrokerUnreachable,
        "refuses the connection: .* is reached",
    ),
    (amqp.ConsumerCancelled("tag"), BrokerUnreachable, "cancelled a consumer"),
    (amqp.RecoverableConnectionError("connection already closed"), BrokerUnreachable, "connection already closed"),
    (amqp.UnexpectedFrame("frame of type 9"), BrokerUnreachable, "frame of type 9"),
    (OperationalError("something of Kombu's"), BrokerError, "something of Kombu's"),
]


def ids(value: Any) -> str | None:
    return type(value).__name__ if isinstance(value, Exception) else ""


@pytest.mark.parametrize(("error", "kind", "text"), FATAL, ids=ids)
def test_what_trying_again_cannot_mend_is_fatal_and_explained(
    error: Exception, kind: type[BrokerError], text: str
) -> None:
    fault = explain(error, ADDRESS)

    assert type(fault.error) is kind
    assert (fault.fatal, fault.unexpected) == (True, False)
    with pytest.raises(kind, match=text):
        raise fault.error


@pytest.mark.parametrize(("error", "kind", "text"), PASSING, ids=ids)
def test_what_may_pass_is_not_fatal_and_explained(error: Exception, kind: type[BrokerError], text: str) -> None:
    fault = explain(error, ADDRESS)

    assert (type(fault.error), fault.fatal) == (kind, False)
    with pytest.raises(kind, match=text):
        raise fault.error


@pytest.mark.parametrize("error", [error for error, _, _ in FATAL + PASSING], ids=ids)
def test_every_explanation_names_the_broker_without_the_password_and_keeps_the_cause(error: Exception) -> None:
    fault = explain(error, ADDRESS)

    assert "amqp://alice@rabbit:5672/orders" in str(fault.error)
    assert "secret" not in str(fault.error)
    assert fault.error.__cause__ is error


@pytest.mark.parametrize("error", [KeyError("x"), TypeError("a bug"), RuntimeError()], ids=ids)
def test_what_neither_a_network_nor_a_broker_does_is_unexpected(error: Exception) -> None:
    fault = explain(error, ADDRESS)

    assert type(fault.error) is BrokerError
    assert (fault.fatal, fault.unexpected) == (False, True)
    assert f"{type(error).__name__}: {error}" in str(fault.error)


def test_an_error_of_ours_stays_as_it_is() -> None:
    error = MessageTooLarge("5 bytes")

    assert explain(error, ADDRESS).error is error
    assert error.__cause__ is None


def test_an_explanation_has_the_code_and_text_of_the_brokers_reply() -> None:
    error = explain(refused(amqp.NotFound, "NOT_FOUND - no queue 'q'", 404, "Queue.declare"), ADDRESS).error

    assert (error.reply_code, error.reply_text) == (404, "NOT_FOUND - no queue 'q'")


@pytest.mark.parametrize(
    "error", [amqp.UnexpectedFrame("frame of type 9"), OSError(5, "Input/output error"), Silence("none")], ids=ids
)
def test_an_explanation_of_anything_else_has_no_reply_code(error: Exception) -> None:
    found = explain(error, ADDRESS).error

    assert (found.reply_code, found.reply_text) == (None, None)


@pytest.mark.parametrize(
    ("text", "method", "login_failed"),
    [
        ("ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN.", "", True),
        ("ACCESS_REFUSED - configure access to queue 'q' refused", "Queue.declare", False),
    ],
)
def test_access_refused_says_whether_the_login_failed(text: str, method: str, login_failed: bool) -> None:
    error = explain(refused(amqp.AccessRefused, text, 403, method), ADDRESS).error

    assert isinstance(error, AccessRefused)
    assert error.login_failed is login_failed


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), errno.ECONNREFUSED),
        (TimeoutError("timed out"), errno.ETIMEDOUT),
        (Silence("no sign of life"), errno.ETIMEDOUT),
        (OSError(), None),
    ],
    ids=ids,
)
def test_broker_unreachable_has_the_number_of_the_systems_error(error: Exception, number: int | None) -> None:
    found = explain(error, ADDRESS).error

    assert isinstance(found, BrokerUnreachable)
    assert (found.errno, found.tls) == (number, False)


def test_broker_unreachable_says_that_tls_is_the_cause_and_what_it_advises() -> None:
    found = explain(TlsPort(), ADDRESS).error

    assert isinstance(found, BrokerUnreachable)
    assert (found.tls, found.advice) == (True, USE_TLS)
    assert USE_TLS in str(found)


@pytest.mark.parametrize(
    ("said", "present"),
    [
        ("received the value 'quorum' of type 'longstr' but current is none", "classic"),
        ("received none but current is the value 'quorum' of type 'longstr'", "quorum"),
        ("received 'quorum' but current is 'classic'", "classic"),
        ("received 'classic' but current is 'quorum'", "quorum"),
    ],
)
def test_a_queue_of_another_type_is_a_conflict_with_the_way_to_migrate(said: str, present: str) -> None:
    text = f"PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'rpc_x_request' in vhost '/': {said}"

    fault = explain(amqp.PreconditionFailed(text, (50, 10), "Queue.declare", 406), ADDRESS)

    assert (type(fault.error), fault.fatal) == (TopologyConflict, True)
    assert f"queue 'rpc_x_request' on the broker at {ADDRESS} is a {present} queue" in str(fault.error)
    assert f"give queue_type='{present}' or 'auto' to every" in str(fault.error)
    assert "rabbitmqctl delete_queue rpc_x_request" in str(fault.error)


@pytest.mark.parametrize("said", ["current is the value 'stream' of type 'longstr'", "current is 'stream'"])
def test_a_queue_of_a_type_that_amphora_cannot_use_is_not_proposed_as_a_queue_type(said: str) -> None:
    text = f"inequivalent arg 'x-queue-type' for queue 'rpc_orders_request' in vhost '/': received none but {said}"

    conflict = str(explain(amqp.PreconditionFailed(text, (50, 10), "queue.declare", 406), ADDRESS).error)

    assert "is a stream queue, which Amphora cannot use" in conflict
    assert "queue_type=" not in conflict
