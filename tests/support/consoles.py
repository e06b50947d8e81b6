"""The console blocks of the documentation: their commands, what these print, and how that compares."""

import re
import shlex
from calendar import month_name
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tests.support.pages import Block

#: What differs between a page and any run, and what stands for it in a comparison of shapes, one after the other.
VARIABLE = (
    (re.compile(rf"\b({'|'.join(month_name[1:])})\b"), "MONTH"),
    # Hosts with process ids or ports, of which machines have various names; ids; versions; times of day; figures.
    (re.compile(r"\brabbit@[\w.-]+"), "rabbit@HOST"),
    (re.compile(r"\b[A-Za-z][\w.-]*:\d+\b"), "HOST:N"),
    (re.compile(r"\([0-9a-f]{8}\)"), "(ID)"),
    (re.compile(r"\b([0-9a-f]{32}|[0-9a-f-]{36}|[0-9a-f]+\.\.\.)-[0-9a-f]+\b"), "ID"),
    (re.compile(r"\b(\d+[dhms]){2}\b"), "UP"),
    (re.compile(r"\b\d+(\.\d+)+((a|b|rc)\d+)?\b"), "N"),
    (re.compile(r"\d+"), "N"),
    (re.compile(r"[ \t]+"), " "),
)


@dataclass(frozen=True)
class Entry:
    """A command of a console block, on one line, without its comment, and what the page says that it prints."""

    block: Block
    command: str
    output: str

    def __str__(self) -> str:
        return f"`{self.command}` of {self.block}"

    @property
    def words(self) -> list[str]:
        """The command as the shell splits it."""
        return shlex.split(self.command)


def entries(blocks: Iterable[Block]) -> Iterator[Entry]:
    """Read the commands of console blocks, in their order.

    Raises:
        ValueError: a block that does not begin with a command.
    """
    for block in blocks:
        before, *parts = re.split(r"^\$ ", block.text, flags=re.MULTILINE)
        if before.strip():
            raise ValueError(f"{block} does not begin with `$ `")
        for part in parts:
            command, _, output = part.replace("\\\n", " ").partition("\n")
            yield Entry(block, _without_comment(command), output)


def shape(text: str, replaced: Mapping[str, str] | None = None) -> list[str]:
    """Return the lines of an output with what varies taken out, and columns as wide as they need be.

    Args:
        text: the output.
        replaced: more that varies, such as the address of a broker, and what stands for it.
    """
    for there, here in (replaced or {}).items():
        text = text.replace(there, here)
    for pattern, sign in VARIABLE:
        text = pattern.sub(sign, text)
    return [line.strip() for line in text.strip().splitlines()]


def assert_same_shape(entry: Entry, printed: str, replaced: Mapping[str, str] | None = None) -> None:
    """Insist that a command prints what the page says, but for names, numbers, times and ids."""
    assert shape(printed, replaced) == shape(entry.output, replaced), f"{entry} printed:\n{printed}"


def assert_contains_lines(
    entry: Entry, printed: str, replaced: Mapping[str, str] | None = None, *, ordered: bool = True
) -> None:
    """Insist that what a command prints has the lines of the page, perhaps with others between them.

    Args:
        entry: the command; a line of its output that is `...` stands for any number of lines.
        printed: what it really printed.
        replaced: as of `shape`.
        ordered: whether the lines have to come in the order of the page.
    """
    wanted = [line for line in shape(entry.output, replaced) if line != "..."]
    lines: Iterable[str] = shape(printed, replaced)
    if ordered:
        # Each search goes on where the one before has ended.
        lines = iter(lines)
    missing = [line for line in wanted if line not in lines]
    assert missing == [], f"{entry} printed:\n{printed}"


def redirection(words: Sequence[str]) -> tuple[list[str], str | None]:
    """Split the words of a command at `>` or `>>`; the file is None where nothing is redirected."""
    for sign in (">", ">>"):
        if sign in words:
            at = words.index(sign)
            return list(words[:at]), words[at + 1]
    return list(words), None


def _without_comment(command: str) -> str:
    """Take off a comment, which begins with ` # ` outside of quotes."""
    match = re.match(r"""((?:'[^']*'|"[^"]*"|[^'"#]|(?<! )#)*?)(?:\s+#.*)?$""", command)
    return (match[1] if match else command).strip()
