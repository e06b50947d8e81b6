"""What went wrong with TLS, in words that say what to do about it."""

from __future__ import annotations

import ssl

__all__ = ["NoTls", "TlsPort", "explain_tls"]

#: How OpenSSL numbers the flaws of a certificate; x509_vfy.h.
_NOT_YET_VALID, _EXPIRED = 9, 10
_UNTRUSTED = (2, 18, 19, 20, 21)
_OTHER_HOST = (62, 64)

#: What the other side answered was no TLS.
_NOT_TLS = (
    "WRONG_VERSION_NUMBER",
    "HTTP_REQUEST",
    "UNKNOWN_PROTOCOL",
    "PACKET_LENGTH_TOO_LONG",
    "RECORD_LAYER_FAILURE",
    "UNEXPECTED_MESSAGE",
)

_OWN_CERTIFICATE = "ssl={'certfile': ..., 'keyfile': ...}"

#: Alerts of the broker (and errors like them) that trying again does not change.
_REFUSALS = {
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": f"it wants a client certificate: give one with {_OWN_CERTIFICATE}",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": (
        f"it refuses the handshake: it wants a client certificate and got none (give one with {_OWN_CERTIFICATE}), or "
        "there is no cipher that both sides accept"
    ),
    "TLSV1_ALERT_UNKNOWN_CA": (
        "it refuses the client certificate, whose authority it does not know: use one that an authority of the "
        "broker's has signed, with the certificates between the two in certfile"
    ),
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "it refuses the client certificate, which has expired: renew it",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "it refuses the client certificate, which was revoked: get another",
    **dict.fromkeys(
        (
            "SSLV3_ALERT_BAD_CERTIFICATE",
            "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
            "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
            "TLSV1_ALERT_ACCESS_DENIED",
        ),
        "it refuses the client certificate: the broker's log says why",
    ),
    **dict.fromkeys(
        (
            "TLSV1_ALERT_PROTOCOL_VERSION",
            "TLSV1_ALERT_INSUFFICIENT_SECURITY",
            "UNSUPPORTED_PROTOCOL",
            "NO_PROTOCOLS_AVAILABLE",
        ),
        "there is no version of TLS that both sides accept: allow TLS 1.2 or 1.3 on the broker",
    ),
    "TLSV1_UNRECOGNIZED_NAME": (
        "it knows no such host name: use the name that its certificate bears, or ssl={'server_hostname': ...}"
    ),
}


class NoTls(OSError):
    """TLS was asked for at a port that speaks plain AMQP."""


class TlsPort(OSError):
    """Plain AMQP was spoken to a port that wants TLS."""


def explain_tls(error: ssl.SSLError) -> tuple[str, bool]:
    """Give the cause and the remedy in words, and whether trying again cannot help."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _flaw(error), True
    # Those that are made by hand have none.
    reason = getattr(error, "reason", None) or ""
    if reason in _REFUSALS:
        return f"{_REFUSALS[reason]} ({reason})", True
    if reason in _NOT_TLS:
        return f"what answers there does not speak TLS: name the broker's TLS port, usually 5671 ({reason})", True
    if isinstance(error, ssl.SSLEOFError):
        return "it ended the connection in the middle (is it a TLS port?)", False
    return reason or str(error), False


def _flaw(error: ssl.SSLCertVerificationError) -> str:
    code, text = getattr(error, "verify_code", 0), error.verify_message.rstrip(".")
    if code == _EXPIRED:
        return f"its certificate is not valid any more: renew it, or set this machine's clock right ({text})"
    if code == _NOT_YET_VALID:
        return f"its certificate is not valid yet: set the clocks right ({text})"
    if code in _OTHER_HOST:
        return (
            "its certificate is not valid for this host name: use a name that the certificate bears, or give that with "
            f"ssl={{'server_hostname': ...}} ({text})"
        )
    if code in _UNTRUSTED:
        return (
            "its certificate is not valid here, because nobody trusted has signed it: give the certificate of its "
            f"authority with ssl={{'ca_certs': ...}} ({text})"
        )
    return f"its certificate is not valid here: {text}"
