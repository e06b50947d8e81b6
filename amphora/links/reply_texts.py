"""What RabbitMQ says only in the text of a reply: which property differs, which limit was passed, what is missing.

A reply code of AMQP 0-9-1 stands for many causes (406 for every difference between two declarations, 530 for every
connection that is not allowed). Only the text of the reply tells them apart. This module alone reads such texts. Where
a release of RabbitMQ words one differently, the functions here find nothing, and users see the text as it is.
"""

from __future__ import annotations

import re

from amqp.exceptions import AMQPError

__all__ = [
    "by_certificate",
    "by_password",
    "is_limit_of_connections",
    "is_other_exchange_type",
    "is_other_property",
    "is_refusal",
    "is_unknown_vhost",
    "names_argument",
    "other_queue_type",
    "other_type_or_limit",
    "reply_code",
    "reply_text",
    "size_limit",
]

#: A queue of another type: "current is none" until 3.11, "current is 'classic'" since.
_QUEUE_TYPE = re.compile(
    r"inequivalent arg 'x-queue-type' for queue '(?P<queue>.*?)' in vhost.*current is (the value )?'?(?P<current>\w+)"
)

#: Arguments of a request queue that follow from its type and limit. The broker names the first one that differs.
_TYPE_OR_LIMIT = re.compile(
    r"inequivalent arg 'x-(delivery-limit|dead-letter-exchange|dead-letter-routing-key)' for queue '(?P<queue>.*?)' in"
)

#: A message larger than ``max_message_size``.
_TOO_LARGE = re.compile(r"message size \d+ .*max size (?P<limit>\d+)")


def reply_text(error: Exception) -> str:
    """Return what the broker said, or what the driver says."""
    text = getattr(error, "reply_text", None)
    return str(text) if text else str(error)


def reply_code(error: Exception) -> int | None:
    """Return the reply code that the broker gave; None for an error that the driver raised by itself."""
    if not isinstance(error, AMQPError) or not error.method_sig:
        return None
    try:
        return int(error.reply_code) or None
    except (TypeError, ValueError):
        return None


def by_certificate(text: str) -> bool:
    """Return whether a login by a client certificate was refused (403)."""
    return "mechanism EXTERNAL" in text


def by_password(text: str) -> bool:
    """Return whether a login was refused (403), rather than something that the user asked for."""
    return "login" in text.lower()


def is_unknown_vhost(text: str) -> bool:
    """Return whether the virtual host does not exist (530)."""
    return "not found" in text


def is_refusal(text: str) -> bool:
    """Return whether the user may not use the virtual host (530)."""
    return "refused" in text and not is_limit_of_connections(text)


def is_limit_of_connections(text: str) -> bool:
    """Return whether a user or virtual host has as many connections as it may have (530); others may leave."""
    return "is reached" in text


def is_other_exchange_type(text: str) -> bool:
    """Return whether an exchange exists with another type (406)."""
    return "inequivalent arg 'type' for exchange" in text


def is_other_property(text: str) -> bool:
    """Return whether an exchange or queue exists with other properties (406)."""
    return "inequivalent arg" in text


def other_queue_type(text: str) -> tuple[str, str] | None:
    """Return the name of a queue that exists with another type (406), and that type."""
    found = _QUEUE_TYPE.search(text)
    if found is None:
        return None
    return found["queue"], "classic" if found["current"] == "none" else found["current"]


def other_type_or_limit(text: str) -> str | None:
    """Return the name of a queue that exists with another type or delivery limit (406)."""
    found = _TYPE_OR_LIMIT.search(text)
    return None if found is None else found["queue"]


def names_argument(error: Exception, argument: str) -> bool:
    """Return whether the broker refuses this argument of a declaration or a consumer (406, 540)."""
    return argument in reply_text(error)


def size_limit(error: Exception) -> int | None:
    """Return the bytes that a message may have, where the broker refuses one as too large (406)."""
    found = _TOO_LARGE.search(reply_text(error))
    return None if found is None else int(found["limit"])
