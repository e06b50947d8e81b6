"""URLs of brokers whose passwords are not percent-encoded, and a search for parts of passwords in what programs say."""

import re
import traceback

__all__ = ["UNREADABLE_URLS", "shown_parts", "told_by"]

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


def shown_parts(text: str, url: str) -> list[str]:
    """Return the parts of the password in a URL that a text shows.

    Args:
        text: What a program has said, with everything in it: logs, output, errors with their causes.
        url: The URL that it was given.
    """
    # Digits may be a part of some id.
    found = (part for part in _PARTS if re.search(rf"(?<![0-9a-f]){part}(?![0-9a-f])", text))
    return [part for part in found if part in url or part in url.lower()]


def told_by(error: BaseException) -> str:
    """Return all that an error shows: its text, arguments and notes, and those of all errors in its chain.

    Errors that ``from None`` hides are in the chain: tools that report errors show them.
    """
    told: list[str] = []
    chain: list[BaseException | None] = [error]
    while chain:
        each = chain.pop()
        if each is not None:
            told += [str(each), repr(each), repr(vars(each)), *traceback.format_exception_only(each)]
            chain += [each.__cause__, each.__context__]
    return "\n".join(told)
