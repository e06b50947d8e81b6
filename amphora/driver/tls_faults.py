"""What went wrong with TLS, in words that say what to do about it."""

from __future__ import annotations

import ssl

from amphora.options.advice import AUTHORITIES, OWN_CERTIFICATE, SERVER_NAME

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

#: Alerts of the broker (and errors like them) that trying again does not change.
_REFUSALS = {
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": f"it wants a client certificate: give one with {OWN_CERTIFICATE}",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": (
        f"it refuses the handshake: it wants a client certificate and got none (give one with {OWN_CERTIFICATE}), or "
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
    "TLSV1_UNRECOGNIZED_NAME": f"it knows no such host name: use the name that its certificate bears, or {SERVER_NAME}",
}

#: What the texts of those advise.
_ADVICE = {
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": OWN_CERTIFICATE,
    "SSLV3_ALERT_HANDSHAKE_FAILURE": OWN_CERTIFICATE,
    "TLSV1_UNRECOGNIZED_NAME": SERVER_NAME,
}


class NoTls(OSError):
    """TLS was asked for at a port that speaks plain AMQP."""


class TlsPort(OSError):
    """Plain AMQP was spoken to a port that wants TLS."""


def explain_tls(error: ssl.SSLError) -> tuple[str, bool, str | None]:
    """Return the cause and the remedy in words, whether trying again cannot help, and what the words advise to set."""
    if isinstance(error, ssl.SSLCertVerificationError):
        text, advice = _flaw(error)
        return text, True, advice
    # Those that are made by hand have none.
    reason = getattr(error, "reason", None) or ""
    if reason in _REFUSALS:
        return f"{_REFUSALS[reason]} ({reason})", True, _ADVICE.get(reason)
    if reason in _NOT_TLS:
        return f"what answers there does not speak TLS: name the broker's TLS port, usually 5671 ({reason})", True, None
    if isinstance(error, ssl.SSLEOFError):
        return "it ended the connection in the middle (is it a TLS port?)", False, None
    return reason or str(error), False, None


def _flaw(error: ssl.SSLCertVerificationError) -> tuple[str, str | None]:
    code, text = getattr(error, "verify_code", 0), error.verify_message.rstrip(".")
    if code == _EXPIRED:
        return f"its certificate is not valid any more: renew it, or set this machine's clock right ({text})", None
    if code == _NOT_YET_VALID:
        return f"its certificate is not valid yet: set the clocks right ({text})", None
    if code in _OTHER_HOST:
        told = (
            "its certificate is not valid for this host name: use a name that the certificate bears, or give that with "
            f"{SERVER_NAME} ({text})"
        )
        return told, SERVER_NAME
    if code in _UNTRUSTED:
        told = (
            "its certificate is not valid here, because no trusted authority has signed it: give the certificate of "
            f"its authority with {AUTHORITIES} ({text})"
        )
        return told, AUTHORITIES
    return f"its certificate is not valid here: {text}", None
