"""`split_url`: the parts of a URL that may hold a password, which no error shows.

Not `urllib.parse.urlsplit`: it takes ``amqp://guest:12/secret@host`` for a host called ``guest``, and its errors quote
what they cannot read. Here a URL that can be read in two ways is refused (RFC 3986, sections 3.2 and 3.3, is stricter
still).
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

__all__ = ["ENCODE", "UrlError", "UrlParts", "split_url"]

#: What to do about a URL that cannot be read.
ENCODE: Final = "percent-encode the password (and the user name): urllib.parse.quote(password, safe='')"

_URL: Final = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://"
    r"(?:(?P<user>[^:/\[\]]*)(?::(?P<password>[^/\[\]]*))?@)?"
    r"(?P<host>[^:/@\[\]%]*|\[[0-9A-Fa-f:.]+(?:%[^\]]+)?\])"
    r"(?::(?P<port>[0-9]{0,5}))?"
    r"(?:/(?P<path>[^@]*))?",
    re.IGNORECASE,
)

#: Characters that separate parts of a URL or of a list of them, where they are not one of those.
_SEPARATORS: Final = frozenset("#?;")

#: Schemes that an error may name. Any other text before a colon may be a part of a password.
_FAMILIAR: Final = frozenset(
    {"amqp", "amqps", "http", "https", "kafka", "librabbitmq", "memory", "mqtt", "pyamqp", "redis", "rediss", "sqs"}
)


class UrlError(ValueError):
    """A URL cannot be read; the text says why without showing a part of it."""


@dataclass(frozen=True)
class UrlParts:
    """The parts of a URL, decoded.

    Args:
        scheme: In lower case.
        user: None where there is none.
        password: None where there is none.
        host: Host name or IP address without brackets; empty where there is none.
        port: None where there is none.
        path: What stands after the slash that ends the host.
    """

    scheme: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    host: str = ""
    port: int | None = None
    path: str = ""

    @property
    def instead(self) -> str:
        """Words for an error that says which scheme was wanted instead of this one."""
        return f", not {self.scheme!r}" if self.scheme in _FAMILIAR else f"; {ENCODE}"


def split_url(url: str, *, schemes: str = "amqp://, amqps:// or memory://") -> UrlParts:
    """Split a URL, strictly.

    Args:
        url: The URL.
        schemes: What it may begin with, for the text of the error.

    Raises:
        UrlError: It is none, or one that could be meant differently. It has no cause.
    """
    if any(_separates(character) for character in url):
        raise UrlError(
            "has a '?', '#', ';', space or other character in it that has a meaning of its own in URLs. "
            f"If it belongs to the password, {ENCODE}; there are no options after '?' or '#', which are arguments "
            "such as heartbeat= and ssl="
        )
    found = _URL.fullmatch(url)
    if found is None:
        if "://" not in url:
            raise UrlError(
                f"must begin with {schemes}. A ';' separates several URLs: if it belongs to the password, {ENCODE}"
            )
        raise UrlError(
            f"has a port or an address that cannot be read. If the password has a '/', ':', '@' or '[' in it, {ENCODE}"
        )
    user, password, host, port = found["user"], found["password"], found["host"], found["port"]
    if port and not 0 < int(port) < 65536:
        raise UrlError(f"has a port that is not between 1 and 65535. If that is a part of the password, {ENCODE}")
    return UrlParts(
        scheme=found["scheme"].lower(),
        user=None if user is None else unquote(user),
        password=None if password is None else unquote(password),
        host=host.strip("[]").lower(),
        port=int(port) if port else None,
        path=unquote(found["path"] or ""),
    )


def _separates(character: str) -> bool:
    """Return whether a character, or what other programs take it for, separates parts of a URL."""
    if character.isascii():
        return character in _SEPARATORS or not "!" <= character <= "~"
    # Compatibility characters: browsers, urllib and kombu read U+2100 (a/c) as three characters with a slash.
    return any(
        each in _SEPARATORS or each in "/@:[]%" or each.isspace() or not each.isprintable()
        for each in unicodedata.normalize("NFKC", character)
    )
