"""URLs of brokers whose passwords are not percent-encoded, and a search for parts of passwords in what programs say."""

import re
from collections.abc import Iterable

__all__ = ["UNREADABLE_URLS", "shown_parts"]

#: In each, the parts of the password are the words Zugang1, Gehe1m, and 40917.
UNREADABLE_URLS = (
    "amqp://guest:Zugang1/Gehe1m@127.0.0.1:1//",
    "amqp://guest:40917/Gehe1m@127.0.0.1:1//",
    "amqp://guest:4091/Gehe1m@127.0.0.1:1//",
    "amqp://guest:Zugang1#Gehe1m@127.0.0.1:1//",
    "amqp://guest:409#Gehe1m@127.0.0.1:1//",
    "amqp://guest:Zugang1?Gehe1m@127.0.0.1:1//",
    "amqp://guest:409?Gehe1m@127.0.0.1:1//",
    "amqp://guest:Zugang1;Gehe1m@127.0.0.1:1//",
    "amqp://guest:409;Gehe1m@127.0.0.1:1//",
    "amqp://guest:409;Gehe1m://x@127.0.0.1:1//",
    "amqp://guest:Zugang1 Gehe1m@127.0.0.1:1//",
    "amqp://guest:Zugang1\tGehe1m@127.0.0.1:1//",
    "amqp://guest:Zugang1\nGehe1m@127.0.0.1:1//",
    "amqp://guest:Zugang1\x00Gehe1m@127.0.0.1:1//",
    "amqp://guest:Zugang1[Gehe1m@127.0.0.1:1//",
    "amqp://guest:Zugang1]Gehe1m@127.0.0.1:1//",
    "amqp://guest:Zugang1\N{ACCOUNT OF}Gehe1m@127.0.0.1:1//",
    "amqp://guest:Zugang1\N{FULLWIDTH SOLIDUS}Gehe1m@127.0.0.1:1//",
    "amqp://guest:Zugang1\N{FULLWIDTH COMMERCIAL AT}Gehe1m@127.0.0.1:1//",
    "amqp://guest:Zugang1\N{FULLWIDTH NUMBER SIGN}Gehe1m@127.0.0.1:1//",
    "amqp://guest:Zugang1\N{NO-BREAK SPACE}Gehe1m@127.0.0.1:1//",
    "amqp://Zugang1/Gehe1m:pw@127.0.0.1:1//",
    "amqp://Zugang1#Gehe1m:pw@127.0.0.1:1//",
    "amqp://Zugang1?Gehe1m:pw@127.0.0.1:1//",
    "amqp://Zugang1;Gehe1m:pw@127.0.0.1:1//",
    "amqp://Zugang1 Gehe1m:pw@127.0.0.1:1//",
    "amqp:/guest:Gehe1m@127.0.0.1:1//",
    "amqp:///guest:Gehe1m@127.0.0.1:1//",
    "amqp:alice:Gehe1m@127.0.0.1",
    "amqp:alice:409@127.0.0.1",
    "alice:Gehe1m@127.0.0.1",
    "Gehe1m://alice:Zugang1/x@127.0.0.1",
    "//alice:Gehe1m@127.0.0.1",
    "amqp://alice@Gehe1m:Zugang1",
    "amqp://alice:Zugang1@127.0.0.1:Gehe1m",
    "amqp://alice:Zugang1@127.0.0.1:99999",
    "amqp://alice:Zugang1@[127.0.0.1",
    "amqps://guest:40917/Gehe1m@127.0.0.1:1//",
    "amqp://127.0.0.1:1;amqp://guest:4091/Gehe1m@127.0.0.1:1//",
    "amqp://guest:Zugang1@127.0.0.1:1//;guest:Gehe1m@127.0.0.1:1//",
    "amqp://127.0.0.1:1//?password=Gehe1m",
    "amqp://127.0.0.1:1//#Gehe1m",
)

_PARTS = ("Zugang1", "Gehe1m", "40917", "4091", "409", "zugang1", "gehe1m")


def shown_parts(text: str, url: str, *, but: Iterable[str] = ()) -> list[str]:
    """Return the parts of the password in a URL that a text shows.

    Args:
        text: What a program has said, with everything in it: logs, output, errors with their causes.
        url: The URL that it was given.
        but: Texts to leave out, such as lines of source code.
    """
    for each in but:
        text = text.replace(each, "")
    # Digits may be a part of some id.
    return [
        part for part in _PARTS if part in url.lower() + url and re.search(rf"(?<![0-9a-f]){part}(?![0-9a-f])", text)
    ]
