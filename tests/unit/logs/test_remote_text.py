"""Text of other programs: what a terminal and a log get of it."""

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amphora.logs.remote_text import printable, printable_json, printable_lines

#: Everything that moves a cursor, changes colors, sets titles, ends lines, or turns the direction of text.
HOSTILE = [chr(each) for each in range(0x110000) if unicodedata.category(chr(each)) in ("Cc", "Zl", "Zp", "Cs")]
BIDI = [chr(each) for each in range(0x110000) if unicodedata.bidirectional(chr(each)) in ("LRE", "RLE", "LRO", "RLO")]
BIDI += ["\u202c", "\u2066", "\u2067", "\u2068", "\u2069", "\u200e", "\u200f", "\u061c"]


@pytest.mark.parametrize("character", HOSTILE[:65] + HOSTILE[-3:] + BIDI)
def test_each_control_character_becomes_an_escape(character: str) -> None:
    shown = printable(f"a{character}b")

    assert character not in shown
    assert shown.isprintable()
    assert shown.startswith("a\\")
    assert shown.endswith("b")


def test_no_control_character_of_unicode_is_left() -> None:
    assert printable("".join(HOSTILE + BIDI)).isprintable()


@pytest.mark.parametrize(
    "text", ["", "add(x: int) -> int", "Müller", "日本語", "👩‍👩‍👧", "שלום", "[bold]x[/]", "C:\\new"]
)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert printable(text) == printable_lines(text) == text


def test_escapes_are_short_and_say_which_character_it_was() -> None:
    assert printable("\x1b]0;x\x07\r\n\t\x9b\u202e\U000e0041") == r"\x1b]0;x\x07\r\n\t\x9b\u202e\U000e0041"


def test_an_error_is_printed_by_its_text() -> None:
    assert printable(ValueError("sold\nout")) == r"sold\nout"


def test_lines_stay_lines_and_tabs_become_spaces() -> None:
    assert printable_lines("one\r\n\ttwo\x1b[2J\rthree\u2028four") == "one\n        two\\x1b[2J\\rthree\\u2028four"


@given(st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)), st.booleans())
def test_json_means_the_same_and_has_no_control_characters(value: object, indented: bool) -> None:
    shown = printable_json(json.dumps(value, ensure_ascii=False, indent=2 if indented else None))

    assert json.loads(shown) == value
    assert printable_lines(shown) == shown


@given(st.text())
def test_cleaning_twice_is_cleaning_once(text: str) -> None:
    assert printable(printable(text)) == printable(text)
    assert printable_lines(printable_lines(text)) == printable_lines(text)
