"""`printable`: text that another program wrote, before a terminal or a log gets it.

A server chooses its host name, the names, signatures and docstrings of its functions, and the texts of its errors. A
terminal obeys the control characters in them, and a line break in a log record begins a record that was never logged.
All code that prints or logs such text passes it through here.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["printable", "printable_json", "printable_lines"]

#: What a terminal obeys or cannot show: C0 and C1 controls, DEL, separators of lines and paragraphs, all marks that
#: change the direction of text or are invisible (Unicode's Bidi_Control, Default_Ignorable_Code_Point without the
#: joiners that scripts and emoji need), and halves of surrogate pairs, which no encoding has.
_UNSAFE: Final = (
    "\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f"
)
_IN_A_LINE: Final = re.compile(f"[{_UNSAFE}]")
_IN_LINES: Final = re.compile(f"(?!\n)[{_UNSAFE}]")

#: Control characters with a short form.
_SHORT: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def printable(text: object) -> str:
    """Return text as one line without control characters: each is shown as an escape such as ``\\x1b``.

    Args:
        text: The text, or an object such as an exception, of which `str` is taken.
    """
    given = str(text)
    # The common case, without a copy; str.isprintable is false for all that is replaced, and for little else.
    return given if given.isprintable() else _IN_A_LINE.sub(_escape, given)


def printable_lines(text: object) -> str:
    """Do the same with text of several lines, such as a docstring or a traceback; tabs become spaces."""
    given = str(text).replace("\r\n", "\n").expandtabs()
    return _IN_LINES.sub(_escape, given)


def printable_json(text: str) -> str:
    """Do the same with a JSON document, whose values stay what they are: JSON has an escape for every character."""
    return _IN_LINES.sub(_escape_in_json, text)


def _escape_in_json(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    if character in _SHORT:
        return _SHORT[character]
    number = ord(character)
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
