"""Signatures: what shows that a message comes from somebody with a key, and is as it was sent.

A signature is an HMAC-SHA256 (RFC 2104) with a shared key, in hexadecimal after ``1:``, in the header
`SIGNATURE`. What is signed is a row of fields, in this order:

- of a request: the text ``amphora request 1``, the service's name, ``message_id``, ``correlation_id``,
  ``reply_to``, ``content_type``, ``timestamp``, the header `DEADLINE`, the body;
- of a reply: the text ``amphora reply 1``, the service's name, the client's uuid (the reply's routing key),
  ``message_id``, ``correlation_id``, ``content_type``, the body.

Each field is one byte for its kind (``n`` not there, ``t`` text, ``i`` integer, ``b`` bytes), the length of its
value in bytes (8 bytes, big-endian), and the value: text in UTF-8, an integer in decimal digits. So no two
messages, and no request and reply, have the same row.

Not signed is what changes on the way: ``expiration`` (counted anew whenever a request is sent), the exchange and
routing key it came by (a request that is put back into its queue comes by another way), the headers that brokers
and dead letters add, and all that Amphora does not read.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from time import time
from typing import Any

from amphora.exceptions import WrongRequest, WrongResult
from amphora.protocol.deadlines import DEADLINE
from amphora.settings import seconds

__all__ = ["SIGNATURE", "Signatures", "sign_request", "signatures_of"]

#: Header of a signed message.
SIGNATURE = "x-amphora-signature"

#: Stands before the digest; another one would mean another way to sign.
_VERSION = "1:"

#: Bytes of a key, at least.
_SHORTEST = 16

_OF_A_REQUEST = ("message_id", "correlation_id", "reply_to", "content_type", "timestamp")
_OF_A_REPLY = ("message_id", "correlation_id", "content_type")

_UNSIGNED = "it is not signed"
_ALTERED = "its signature does not fit: it was altered, or signed with another key or for another service"


class Signatures:
    """Signs messages of a service, and checks their signatures. Its repr, and its errors, show no key.

    Args:
        keys: The first one signs; each of them is accepted. Text is taken as UTF-8. At least 16 bytes each.
        service: Name of the service.
        window: Seconds that a request's timestamp may differ from this machine's clock; None for any number.
        clock: Gives the time (`time.time`).

    Raises:
        TypeError: The keys are no sequence of text or bytes, or the window is no number.
        ValueError: There is no key, or a short one; or the window is not positive.
    """

    __slots__ = ("_clock", "_service", "_started", "_window")

    def __init__(
        self,
        keys: Sequence[bytes | str],
        *,
        service: str,
        window: float | None = None,
        clock: Callable[[], float] = time,
    ) -> None:
        # What a key makes of it is kept, not the key: it is quicker too.
        self._started = tuple(hmac.new(key, digestmod=sha256) for key in _checked(keys))
        self._service = service
        self._window = None if window is None else seconds("signature_window", window)
        self._clock = clock

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._service!r}, keys: {len(self._started)}>"

    def sign_request(self, properties: Mapping[str, Any], body: bytes) -> dict[str, Any]:
        """Return a request's properties with its signature among the headers.

        Raises:
            TypeError: A property that is to be signed is neither text nor an integer.
        """
        return self._signed(properties, self._request_fields(properties), body)

    def sign_reply(self, properties: Mapping[str, Any], body: bytes, *, client: str) -> dict[str, Any]:
        """Return the properties of a reply to the client with that uuid with its signature.

        Raises:
            TypeError: A property that is to be signed is neither text nor an integer.
        """
        return self._signed(properties, self._reply_fields(properties, client), body)

    def check_request(self, properties: Mapping[str, Any], body: bytes) -> None:
        """Refuse a request that was not signed with one of the keys, or altered since.

        Raises:
            WrongRequest: The text says why.
        """
        problem = self._problem(properties, self._request_fields(properties), body)
        if problem is not None:
            raise WrongRequest(f"The request is refused: {problem}")

    def check_age(self, properties: Mapping[str, Any]) -> None:
        """Refuse a request (one that was checked) whose timestamp lies outside of the window.

        Raises:
            WrongRequest: The text says by how much.
        """
        if self._window is None:
            return
        timestamp = properties.get("timestamp")
        if not isinstance(timestamp, int):
            raise WrongRequest("The request is refused: it was signed without a timestamp")
        age = self._clock() - timestamp
        # A timestamp has whole seconds.
        if not -self._window <= age <= self._window + 1:
            when = f"{age:.0f} s ago" if age > 0 else f"{-age:.0f} s ahead of this server's clock"
            raise WrongRequest(
                f"The request is refused: it was signed {when}, and signature_window is {self._window:g} s"
            )

    def check_reply(self, properties: Mapping[str, Any], body: bytes, *, client: str) -> None:
        """Refuse a reply that was not signed with one of the keys for that client, or altered since.

        Raises:
            WrongResult: The text says why.
        """
        problem = self._problem(properties, self._reply_fields(properties, client), body)
        if problem is not None:
            raise WrongResult(f"The reply is refused: {problem}")

    def _request_fields(self, properties: Mapping[str, Any]) -> list[Any]:
        deadline = (properties.get("headers") or {}).get(DEADLINE)
        return ["amphora request 1", self._service, *map(properties.get, _OF_A_REQUEST), deadline]

    def _reply_fields(self, properties: Mapping[str, Any], client: str) -> list[Any]:
        return ["amphora reply 1", self._service, client, *map(properties.get, _OF_A_REPLY)]

    def _signed(self, properties: Mapping[str, Any], fields: list[Any], body: bytes) -> dict[str, Any]:
        signature = _signature(self._started[0], _encoded(fields, body), body)
        return {**properties, "headers": {**(properties.get("headers") or {}), SIGNATURE: signature}}

    def _problem(self, properties: Mapping[str, Any], fields: list[Any], body: bytes) -> str | None:
        found = (properties.get("headers") or {}).get(SIGNATURE)
        if found is None:
            return _UNSIGNED
        try:
            head = _encoded(fields, body)
        except TypeError:
            return _ALTERED
        # The comparison takes text only where it is ASCII.
        given = found.encode("utf-8", "surrogatepass") if isinstance(found, str) else b""
        fits = [hmac.compare_digest(_signature(key, head, body).encode(), given) for key in self._started]
        return None if any(fits) else _ALTERED


def signatures_of(keys: Sequence[bytes | str], *, service: str, window: float | None = None) -> Signatures | None:
    """Give what signs and checks the messages of a service; None where there are no keys, and nothing is signed.

    Raises:
        TypeError, ValueError: See `Signatures`.
    """
    if window is not None:
        seconds("signature_window", window)
    if not isinstance(keys, (str, bytes)) and not keys:
        return None
    return Signatures(keys, service=service, window=window)


def sign_request(
    signing_keys: Sequence[bytes | str], service_name: str, properties: Mapping[str, Any], body: bytes
) -> dict[str, Any]:
    """Sign a request that is not sent by an Amphora client, such as a dead letter that is given back.

    ::

        properties = sign_request(keys, "orders", {"message_id": "1", "content_type": "application/json"}, body)

    Args:
        signing_keys: Keys as the constructors take them; the first one signs.
        service_name: Name of the service whose servers shall accept the request.
        properties: Its AMQP properties by their AMQP names, ``headers`` (a dict) for the header table. Those that
            are signed (``message_id``, ``correlation_id``, ``reply_to``, ``content_type``, and the header with the
            deadline) must be published as they are here, and none of them added.
        body: The body, as it is published.

    Returns:
        All properties that the request is to be published with: those given, with the present time as
        ``timestamp`` and the signature among the ``headers``.

    Raises:
        TypeError: The keys are no sequence of text or bytes, or a property that is signed has a wrong type.
        ValueError: There is no key, or one of less than 16 bytes.
    """
    stamped = {**properties, "timestamp": int(time())}
    return Signatures(signing_keys, service=service_name).sign_request(stamped, body)


def _checked(keys: Sequence[bytes | str]) -> Iterator[bytes]:
    """Give the keys as bytes; what is wrong with one is said without showing it."""
    if isinstance(keys, (str, bytes)) or not isinstance(keys, Sequence):
        raise TypeError(f"signing_keys must be a sequence of keys, such as a list, not a {type(keys).__name__}")
    if not keys:
        raise ValueError("signing_keys is empty: there is no key to sign with")
    for number, key in enumerate(keys):
        if not isinstance(key, (str, bytes)):
            raise TypeError(f"signing_keys[{number}] must be bytes or a str, not a {type(key).__name__}")
        # A lone surrogate has no UTF-8, and the error that says so would show the key.
        octets = key.encode("utf-8", "surrogatepass") if isinstance(key, str) else key
        if len(octets) < _SHORTEST:
            raise ValueError(f"signing_keys[{number}] has {len(octets)} bytes, a key needs at least {_SHORTEST}")
        yield octets


def _signature(key: hmac.HMAC, head: bytes, body: bytes) -> str:
    mac = key.copy()
    mac.update(head)
    mac.update(body)
    return _VERSION + mac.hexdigest()


def _encoded(fields: list[Any], body: bytes) -> bytes:
    """Encode the fields, and of the body, which comes last, what stands before it."""
    return b"".join(map(_field, fields)) + _before(b"b", len(body))


def _field(value: Any) -> bytes:
    if value is None:
        return _before(b"n", 0)
    if isinstance(value, str):
        text = value.encode("utf-8", "surrogatepass")
        return _before(b"t", len(text)) + text
    if isinstance(value, int) and not isinstance(value, bool):
        digits = b"%d" % value
        return _before(b"i", len(digits)) + digits
    raise TypeError(f"what is signed must be text or an integer, not a {type(value).__name__}")


def _before(kind: bytes, length: int) -> bytes:
    return kind + length.to_bytes(8, "big")
