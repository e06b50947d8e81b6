"""The code blocks of the documentation's pages, and which of them a test has executed."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

from tests.support.processes import ROOT

#: Where pages are. Folders of tools (.venv, .tox, build) are not looked into.
FOLDERS = (".", "docs", "examples", "benchmarks", "chaos", "amphora", "dashboards")
_FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,}|:{3,})(?P<language>.*)$")
_DIRECTIVE = re.compile(r"^\{code-block\} *")
_HEADING = re.compile(r"^#+ +(.*)$")
_FILE = re.compile(r"# (?P<at_end>at the end of )?(?P<name>[\w/@.-]+\.\w+)\n")


@dataclass(frozen=True)
class Block:
    """A fenced block: its text without the fences and without their indentation."""

    page: str
    line: int
    heading: str
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line} ({self.language or 'no language'}, below {self.heading!r})"

    @property
    def file(self) -> str | None:
        """The name of the file that its first line says it is, as `# orders/rpc.py` does."""
        match = _FILE.match(self.text)
        return match["name"] if match else None

    @property
    def goes_at_the_end(self) -> bool:
        """Whether its first line says that it belongs at the end of a file."""
        match = _FILE.match(self.text)
        return match is not None and match["at_end"] is not None

    @property
    def compiled_as(self) -> str:
        """What tracebacks name as its file."""
        return f"<{self.page}, block of line {self.line}>"


class Reading:
    """The blocks of a page, of which a test takes one after the other to execute them; in the end none may be left."""

    def __init__(self, page: str, *headings: str) -> None:
        """Read a page.

        Args:
            page: its path from the project's root.
            headings: only the blocks right below these headings, for a page that several tests share.

        Raises:
            LookupError: there is no block below one of the headings.
        """
        self.page = page
        self.text = (ROOT / page).read_text()
        blocks = blocks_of(page)
        missing = sorted(set(headings) - {block.heading for block in blocks})
        if missing:
            raise LookupError(f"{page} has no block right below {', '.join(missing)}")
        self.left = [block for block in blocks if not headings or block.heading in headings]

    def take(
        self,
        *languages: str,
        containing: str = "",
    ) -> list[Block]:
        """Take the blocks that are left and fit, in their order, to execute them now.

        Args:
            languages: of one of these; of any without.
            containing: what is in the text.

        Raises:
            LookupError: there is none.
        """
        taken = [
            block for block in self.left if (not languages or block.language in languages) and containing in block.text
        ]
        if not taken:
            left = "; ".join(map(str, self.left)) or "none"
            raise LookupError(f"{self.page} has no such block; left are: {left}")
        self.left = [block for block in self.left if block not in taken]
        return taken

    def take_one(self, *languages: str, containing: str = "") -> Block:
        """Take the one block that fits; arguments as of `take`.

        Raises:
            LookupError: there is none, or more than one.
        """
        taken = self.take(*languages, containing=containing)
        if len(taken) != 1:
            raise LookupError(f"{self.page} has {len(taken)} such blocks: {', '.join(map(str, taken))}")
        return taken[0]

    def take_files(self) -> dict[str, str]:
        """Take the blocks that are whole files, by their names."""
        files = {block.file: block.text for block in self.left if block.file is not None}
        self.left = [block for block in self.left if block.file is None]
        return files

    def assert_all_taken(self) -> None:
        """Raise an AssertionError with the blocks that were not executed."""
        assert not self.left, "not executed: " + "; ".join(map(str, self.left))


def blocks_of(page: str) -> list[Block]:
    """Return the fenced blocks of a page, given by its path from the project's root."""
    return list(_blocks(page, (ROOT / page).read_text()))


def all_pages() -> list[Path]:
    """Return the pages of the documentation, those for contributors included."""
    found = {path for folder in FOLDERS for path in (ROOT / folder).glob("*.md" if folder == "." else "**/*.md")}
    return sorted(path for path in found if ".venvs" not in path.parts)


def _blocks(page: str, text: str) -> Iterator[Block]:
    heading, opened, begun, lines = "", None, 0, list[str]()
    for number, line in enumerate(text.splitlines(), 1):
        match = _FENCE.match(line)
        if opened is None:
            if match:
                opened, begun, lines = match, number, []
            elif found := _HEADING.match(line):
                heading = found[1]
        elif match and not match["language"].strip() and match["fence"].startswith(opened["fence"]):
            language = _DIRECTIVE.sub("", opened["language"].strip())
            yield Block(page, begun, heading, language, dedent("".join(f"{each}\n" for each in lines)))
            opened = None
        else:
            lines.append(line)
    if opened is not None:
        raise ValueError(f"{page}: the block that begins in line {begun} has no end")
