"""What `amphora doctor` finds: a line that says what is, and one that says how to mend it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from amphora.cli.output import console, print_indented, print_line

__all__ = ["Finding", "Level", "print_finding"]


class Level(Enum):
    """How bad a finding is."""

    GOOD = "ok"
    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True)
class Finding:
    """One finding.

    Args:
        check: What was looked at, in a word or two.
        level: How bad it is.
        text: What was found.
        remedy: How to mend it; empty where there is nothing to mend.
    """

    check: str
    level: Level
    text: str
    remedy: str = ""


_MARKS = {
    Level.GOOD: ("ok  ", "green"),
    Level.NOTE: ("note", "cyan"),
    Level.WARNING: ("warn", "yellow"),
    Level.ERROR: ("BAD ", "bold red"),
}


def print_finding(finding: Finding) -> None:
    """Print one, with its remedy below."""
    mark, style = _MARKS[finding.level]
    out = console()
    if out.is_terminal and len(finding.check) + len(finding.text) + 7 > out.width:
        print_line((mark, style), " ", (f"{finding.check}:", "bold"))
        print_indented(finding.text, 5)
    else:
        print_line((mark, style), " ", (f"{finding.check}:", "bold"), f" {finding.text}")
    if finding.remedy:
        print_indented(f"-> {finding.remedy}", 5, style="cyan" if finding.level is Level.NOTE else style.split()[-1])
