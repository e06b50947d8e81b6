"""The wording of the project: phrases that read like a translation do not come back."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import ROOT

#: Each with what to write instead.
PHRASES = {
    r"nobody|no one": "name who: no server, no caller, no program",
    r"somebody|whoever": "name who: a user, another program, the caller",
    r"for ever": "forever",
    r"at the most": "at most",
    r"shall": "must, will",
    r"that is to say": "(leave it out)",
    r"play ball": "(say what happens)",
    r"read the ratios": "compare ratios only",
    r"takes up where": "resumes where",
    r"[Tt]ell whether": "return whether",
}
_PATTERN = re.compile(rf"\b(?:{'|'.join(PHRASES)})\b", re.IGNORECASE)


def prose() -> Iterator[Path]:
    """Find the files that users and contributors read. (CHANGELOG.md is history.)"""
    yield ROOT / "README.md"
    yield ROOT / "CONTRIBUTING.md"
    yield from sorted((ROOT / "docs").glob("*.md"))
    yield from sorted((ROOT / "amphora").rglob("*.py"))
    yield from sorted(path for path in (ROOT / "examples").rglob("*") if path.suffix in {".py", ".md"})


@pytest.mark.parametrize("path", list(prose()), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_phrase_reads_like_a_translation(path: Path) -> None:
    found = [
        f"line {number}: {line.strip()}"
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if _PATTERN.search(line)
    ]

    assert found == []
