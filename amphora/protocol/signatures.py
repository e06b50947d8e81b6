"""Signatures: proof that a message was sent by a holder of a key, and has not been changed since.

A signature is an HMAC-SHA256 (RFC 2104) with a shared key, in hexadecimal after its version and a colon. Version 1 is
in the header ``x-amphora-signature``, version 2 in ``x-amphora-signature-2``. `amphora.protocol.signed_fields`
specifies what they cover.

A client signs each request with every version that it is configured for, because it does not know its server. A server
checks the highest version that it finds and accepts, and signs the reply with that version.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from time import time
from typing import Any

from amphora.exceptions import WrongRequest, WrongResult
from amphora.protocol.signed_fields import (
    LETTER,
    REPLY,
    SIGNATURE,
    SIGNATURE_2,
    SIGNATURE_OF_LETTER,
    head_1,
    head_2,
    kind_of,
)
from amphora.value_checks import seconds

__all__ = ["SIGNATURE_VERSIONS", "Signatures", "check_versions", "sign_request", "signatures_of"]

#: Versions that are sent and accepted unless an endpoint is told otherwise.
SIGNATURE_VERSIONS = (1, 2)

#: Bytes of a key, at least.
_SHORTEST = 16

_UNSIGNED = "it is not signed"
_OLD = "it has a signature of version 1 only, and signature_versions accepts version 2"
_ALTERED = "its signature does not fit: it was altered, or signed with another key or for another service"


class Signatures:
    """Signs messages of a service, and checks their signatures. Its repr, and its errors, show no key.

    Args:
        keys: The first one signs; each of them is accepted. Text is taken as UTF-8. At least 16 bytes each.
        service: Name of the service.
        window: Seconds that a request's timestamp may differ from this machine's clock; None for any number.
        versions: Versions of the signature that are accepted, and that requests are signed with.
        clock: Gives the time (`time.time`).

    Raises:
        TypeError: The keys are no sequence of text or bytes, or the window is no number.
        ValueError: There is no key, or a short one; the window is not positive; or the versions are unknown.
    """

    __slots__ = ("_clock", "_service", "_started", "_versions", "_window")

    def __init__(
        self,
        keys: Sequence[bytes | str],
        *,
        service: str,
        window: float | None = None,
        versions: Sequence[int] = SIGNATURE_VERSIONS,
        clock: Callable[[], float] = time,
    ) -> None:
        # What a key makes of it is kept, not the key: it is quicker too.
        self._started = tuple(hmac.new(key, digestmod=sha256) for key in _checked(keys))
        self._service = service
        self._window = None if window is None else seconds("signature_window", window)
        self._versions = check_versions(versions)
        self._clock = clock

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._service!r}, keys: {len(self._started)}>"

    def sign_request(self, properties: Mapping[str, Any], body: bytes, *, routing_key: str) -> dict[str, Any]:
        """Return a request's properties with its signatures among the headers.

        Raises:
            TypeError: A property that is to be signed is neither text nor an integer.
        """
        headers = dict(properties.get("headers") or {})
        signatures = {}
        if 1 in self._versions:
            head = head_1(self._service, properties, client=None, size=len(body))
            signatures[SIGNATURE] = self._signature(1, head, body)
        if 2 in self._versions:
            kind = kind_of(routing_key, headers)
            head = head_2(kind, self._service, routing_key, properties, size=len(body))
            signatures[SIGNATURE_2] = self._signature(2, head, body)
        return {**properties, "headers": headers | signatures}

    def check_request(self, properties: Mapping[str, Any], body: bytes, *, routing_key: str) -> int:
        """Refuse a request that was not signed with one of the keys, or altered since.

        A request with a signature of version 2 is judged by that one alone.

        Args:
            properties: The request's properties, as they were received.
            body: Its body.
            routing_key: The routing key that it was published with.

        Returns:
            The version of its signature, with which the reply is to be signed.

        Raises:
            WrongRequest: The text says why.
        """
        headers = properties.get("headers") or {}
        kind = kind_of(routing_key, headers)
        version, problem = self._judge(
            headers,
            body,
            lambda: head_1(self._service, properties, client=None, size=len(body)),
            lambda: head_2(kind, self._service, routing_key, properties, size=len(body)),
        )
        if problem is not None:
            raise WrongRequest(f"The request is refused: {problem}")
        return version

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

    def sign_reply(self, properties: Mapping[str, Any], body: bytes, *, client: str, version: int) -> dict[str, Any]:
        """Return the properties of a reply with its signature.

        Args:
            properties: The properties of the reply.
            body: Its body.
            client: Uuid of the client that it is for.
            version: That of the request, from `check_request`: the reply is signed with the same one.

        Raises:
            TypeError: A property that is to be signed is neither text nor an integer.
        """
        headers = dict(properties.get("headers") or {})
        if version == 2:
            head = head_2(REPLY, self._service, client, properties, size=len(body))
            headers[SIGNATURE_2] = self._signature(2, head, body)
        else:
            head = head_1(self._service, properties, client=client, size=len(body))
            headers[SIGNATURE] = self._signature(1, head, body)
        return {**properties, "headers": headers}

    def check_reply(self, properties: Mapping[str, Any], body: bytes, *, client: str) -> None:
        """Refuse a reply that was not signed with one of the keys for that client, or altered since.

        Raises:
            WrongResult: The text says why.
        """
        _, problem = self._judge(
            properties.get("headers") or {},
            body,
            lambda: head_1(self._service, properties, client=client, size=len(body)),
            lambda: head_2(REPLY, self._service, client, properties, size=len(body)),
        )
        if problem is not None:
            raise WrongResult(f"The reply is refused: {problem}")

    def sign_letter(self, properties: Mapping[str, Any], body: bytes) -> dict[str, Any]:
        """Return the properties of a dead letter with the mark of a server that holds a key.

        Only for requests that this server has trusted.

        Raises:
            TypeError: A property that is to be signed is neither text nor an integer.
        """
        head = head_2(LETTER, self._service, "", properties, size=len(body))
        mark = self._signature(2, head, body)
        return {**properties, "headers": {**(properties.get("headers") or {}), SIGNATURE_OF_LETTER: mark}}

    def is_marked(self, properties: Mapping[str, Any], body: bytes) -> bool:
        """Return whether a server with one of the keys made this dead letter, and it was not altered since."""
        mark = (properties.get("headers") or {}).get(SIGNATURE_OF_LETTER)
        try:
            head = head_2(LETTER, self._service, "", properties, size=len(body))
        except TypeError:
            return False
        return mark is not None and self._fits(2, mark, head, body)

    def _judge(
        self, headers: Mapping[str, Any], body: bytes, of_1: Callable[[], bytes], of_2: Callable[[], bytes]
    ) -> tuple[int, str | None]:
        """Return the version that a message is judged by, and what is wrong with its signature."""
        version = 2 if 2 in self._versions and headers.get(SIGNATURE_2) is not None else 1
        given = headers.get(SIGNATURE_2 if version == 2 else SIGNATURE)
        if given is None:
            return version, _UNSIGNED
        if version not in self._versions:
            return version, _OLD
        try:
            head = of_2() if version == 2 else of_1()
        except TypeError:
            return version, _ALTERED
        return version, None if self._fits(version, given, head, body) else _ALTERED

    def _fits(self, version: int, given: Any, head: bytes, body: bytes) -> bool:
        # The comparison takes text only where it is ASCII.
        if not isinstance(given, str) or not given.isascii():
            return False
        fits = [hmac.compare_digest(_signature(key, version, head, body), given) for key in self._started]
        return any(fits)

    def _signature(self, version: int, head: bytes, body: bytes) -> str:
        return _signature(self._started[0], version, head, body)


def signatures_of(
    keys: Sequence[bytes | str],
    *,
    service: str,
    window: float | None = None,
    versions: Sequence[int] = SIGNATURE_VERSIONS,
) -> Signatures | None:
    """Return what signs and checks the messages of a service; None where there are no keys, and nothing is signed.

    Raises:
        TypeError, ValueError: See `Signatures`.
    """
    if window is not None:
        seconds("signature_window", window)
    check_versions(versions)
    if not isinstance(keys, (str, bytes)) and not keys:
        return None
    return Signatures(keys, service=service, window=window, versions=versions)


def sign_request(
    signing_keys: Sequence[bytes | str],
    service_name: str,
    properties: Mapping[str, Any],
    body: bytes,
    *,
    routing_key: str | None = None,
) -> dict[str, Any]:
    """Sign a request that is not sent by an Amphora client, such as one of a program in another language.

    ::

        properties = {"message_id": "1", "content_type": "application/json"}
        properties = sign_request(keys, "orders", properties, body, routing_key="")

    Args:
        signing_keys: Keys as the constructors take them; the first one signs.
        service_name: Name of the service whose servers are to accept the request.
        properties: Its AMQP properties by their AMQP names, ``headers`` (a dict) for the header table. Those that
            are signed (``message_id``, ``correlation_id``, ``reply_to``, ``content_type``, ``content_encoding``,
            ``priority``, and headers that begin with ``x-amphora-``) must be published as they are here, and none of
            them added.
        body: The body, as it is published.
        routing_key: The routing key that it is published with. Without it, the request has a signature of version 1
            only, which servers with ``signature_versions=(2,)`` refuse.

    Returns:
        All properties that the request is to be published with: those given, with the present time as
        ``timestamp`` and the signatures among the ``headers``.

    Raises:
        TypeError: The keys are no sequence of text or bytes, or a property that is signed has a wrong type.
        ValueError: There is no key, or one of less than 16 bytes.
    """
    stamped = {**properties, "timestamp": int(time())}
    versions = (1,) if routing_key is None else SIGNATURE_VERSIONS
    signatures = Signatures(signing_keys, service=service_name, versions=versions)
    return signatures.sign_request(stamped, body, routing_key=routing_key or "")


def check_versions(versions: Any) -> frozenset[int]:
    """Return the versions of the signature that are chosen.

    Raises:
        TypeError, ValueError: They are no sequence, none, or unknown.
    """
    if isinstance(versions, (str, bytes)) or not isinstance(versions, Sequence):
        raise TypeError(f"signature_versions must be a sequence such as (1, 2), not {versions!r}")
    chosen = frozenset(versions)
    if not chosen or not chosen <= {1, 2}:
        raise ValueError(f"signature_versions must hold 1, 2 or both, not {versions!r}")
    return chosen


def _checked(keys: Sequence[bytes | str]) -> Iterator[bytes]:
    """Return the keys as bytes; what is wrong with one is said without showing it."""
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


def _signature(key: hmac.HMAC, version: int, head: bytes, body: bytes) -> str:
    mac = key.copy()
    mac.update(head)
    mac.update(body)
    return f"{version}:{mac.hexdigest()}"
