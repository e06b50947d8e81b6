"""What no name may contain: those of services, labels, clients, servers, functions, and routing keys."""

from __future__ import annotations

import unicodedata

__all__ = ["printable_name"]


def printable_name(name: str, what: str) -> str:
    """Return a name that has no control characters.

    RabbitMQ strips line breaks where a name is declared or deleted, and keeps them where it is published to or consumed
    from, so that one name means two queues. And what reads names line by line, such as the output of `rabbitmqctl` or a
    log, takes one for two.

    Args:
        name: The name.
        what: What it is, for the error.

    Raises:
        ValueError: It has control characters (Unicode's category Cc).
    """
    # (The first question is quick, and settles nearly all names.)
    if not name.isprintable():
        for character in name:
            if unicodedata.category(character) == "Cc":
                raise ValueError(f"{what} must not contain control characters: {name[:60]!r} has {character!r}")
    return name
