"""What tells one request from another."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from hashlib import blake2b
from typing import Any

__all__ = ["request_key"]

#: Ids as Amphora's clients make them: never used twice.
_OWN = re.compile(r"[0-9a-f]{32}-[0-9a-f]+\Z").match

#: Bytes at each end by which large bodies of own requests are told apart.
_END = 2048


def request_key(properties: Mapping[str, Any], body: bytes) -> tuple[Hashable, str | None]:
    """Return what a request is known by, and its id (None if it has none).

    A foreign client may use one id for many requests, so the whole body is a part of the key. Amphora's own clients
    do not, so of a large body only its size and its ends are: that keeps apart what somebody else sends under an id of
    theirs, and costs nothing. Without an id, the key is the same for equal requests, which are different ones all the
    same.
    """
    message_id: str | None = properties.get("message_id") or properties.get("correlation_id")
    reply_to = properties.get("reply_to") or None
    if len(body) <= 2 * _END:
        return (reply_to, message_id, hash(body)), message_id
    if message_id is not None and _OWN(message_id):
        return (reply_to, message_id, hash((len(body), body[:_END], body[-_END:]))), message_id
    return (reply_to, message_id, blake2b(body, digest_size=16).digest()), message_id
