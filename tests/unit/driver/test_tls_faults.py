"""Errors of TLS in words: the cause, the remedy, and whether trying again can help."""

import ssl

import pytest

from amphora.driver.tls_faults import NoTls, TlsPort, explain_tls
from amphora.links.faults import explain
from amphora.options.brokers import BrokerAddress

ADDRESS = BrokerAddress("amqps", "rabbit", 5671, "alice", "secret", "orders")


def flaw(code: int, text: str) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.reason, error.verify_code, error.verify_message = "CERTIFICATE_VERIFY_FAILED", code, text
    return error


def failure(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, f"[SSL: {reason}]")
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (flaw(10, "certificate has expired"), r"not valid any more: renew it.*\(certificate has expired\)"),
        (flaw(9, "certificate is not yet valid"), "not valid yet: set the clocks right"),
        (flaw(20, "unable to get local issuer certificate"), r"no trusted authority has signed it: .*ssl={'ca_certs'"),
        (flaw(18, "self-signed certificate"), "no trusted authority has signed it"),
        (flaw(62, "Hostname mismatch"), r"not valid for this host name: .*server_hostname.*\(Hostname mismatch\)"),
        (flaw(64, "IP address mismatch"), "not valid for this host name"),
        (flaw(23, "certificate revoked"), "not valid here: certificate revoked"),
        (failure("TLSV13_ALERT_CERTIFICATE_REQUIRED"), "wants a client certificate: give one with ssl={'certfile'"),
        (failure("SSLV3_ALERT_HANDSHAKE_FAILURE"), "wants a client certificate and got none"),
        (failure("TLSV1_ALERT_UNKNOWN_CA"), "refuses the client certificate, whose authority it does not know"),
        (failure("SSLV3_ALERT_CERTIFICATE_EXPIRED"), "refuses the client certificate, which has expired: renew it"),
        (failure("SSLV3_ALERT_BAD_CERTIFICATE"), "refuses the client certificate: the broker's log says why"),
        (failure("TLSV1_ALERT_PROTOCOL_VERSION"), "no version of TLS that both sides accept"),
        (failure("WRONG_VERSION_NUMBER"), "does not speak TLS: name the broker's TLS port"),
    ],
)
def test_what_trying_again_cannot_mend_is_fatal_and_says_what_to_do(error: ssl.SSLError, text: str) -> None:
    why, fatal, _ = explain_tls(error)

    assert fatal
    with pytest.raises(AssertionError, match=text):
        raise AssertionError(why)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ssl.SSLEOFError(8, "EOF occurred"), r"ended the connection in the middle \(is it a TLS port\?\)"),
        (failure("SSLV3_ALERT_BAD_RECORD_MAC"), "SSLV3_ALERT_BAD_RECORD_MAC"),
        (ssl.SSLError("something"), "something"),
    ],
)
def test_what_may_pass_is_not_fatal(error: ssl.SSLError, text: str) -> None:
    why, fatal, _ = explain_tls(error)

    assert not fatal
    with pytest.raises(AssertionError, match=text):
        raise AssertionError(why)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (NoTls("x"), "no TLS with the broker at amqps://alice@rabbit:5671/orders: this port speaks plain AMQP"),
        (TlsPort("x"), "this port wants TLS: begin the URL with amqps://"),
    ],
)
def test_a_port_of_the_other_kind_is_fatal_and_about_that_address_alone(error: OSError, text: str) -> None:
    fault = explain(error, ADDRESS)

    assert text in str(fault.error)
    assert (fault.fatal, fault.local, fault.unexpected) == (True, True, False)


def test_a_flaw_of_a_certificate_is_about_that_address_alone() -> None:
    fault = explain(flaw(10, "certificate has expired"), ADDRESS)

    assert (fault.fatal, fault.local) == (True, True)
