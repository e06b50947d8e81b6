"""What commands print: tables and lines for people, JSON for scripts.

Much of it other programs have written: names of hosts and functions, signatures, docstrings, errors. Everything that a
command prints goes through this module, where control characters become escapes and nothing is taken for rich's markup.
"""

from __future__ import annotations

import json
import sys
import textwrap
from dataclasses import asdict, is_dataclass
from typing import Any

import click
from rich.console import Console, OverflowMethod
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from amphora.logs.remote_text import printable, printable_json, printable_lines

__all__ = [
    "Part",
    "console",
    "errors",
    "fitted",
    "print_indented",
    "print_json",
    "print_line",
    "print_lines",
    "print_table",
    "styled",
    "table",
    "to_json",
]

#: Text, or text and its style.
Part = str | tuple[str, str]

#: Columns of a table that no terminal shows.
_PIPE = 10_000


class _Console(Console):
    """Leaves it to the program to end where the reader of the output has ended."""

    def on_broken_pipe(self) -> None:
        """Raise the error again that rich would turn into a status of its own."""
        raise BrokenPipeError


def console() -> Console:
    """Return the console for standard output: colours on a terminal only, and not with NO_COLOR."""
    return _Console(highlight=False, markup=False, emoji=False, soft_wrap=False)


def errors() -> Console:
    """Return the console for standard error."""
    return _Console(stderr=True, highlight=False, markup=False, emoji=False)


def styled(*parts: Part) -> Text:
    """Put parts together, in one line."""
    found = Text()
    for each in parts:
        text, style = (each, "") if isinstance(each, str) else each
        found.append(printable(text), style)
    return found


def print_line(*parts: Part, err: bool = False) -> None:
    """Print one line, however long it is."""
    (errors() if err else console()).print(styled(*parts), soft_wrap=True)


def print_lines(text: str, *, err: bool = False) -> None:
    """Print text as it is, line by line."""
    click.echo(printable_lines(text), err=err)


class _Compact(Table):
    """Ends with its last column, and has one line of text in each cell."""

    def add_cells(self, *cells: Part, style: str = "") -> None:
        """Add a row."""
        self.add_row(*(styled(each) for each in cells), style=style)

    def _get_padding_width(self, column_index: int) -> int:
        # rich counts the padding of the edge, although pad_edge=False leaves it out.
        return 0 if column_index == len(self.columns) - 1 else super()._get_padding_width(column_index)


def table(*headings: str, right: tuple[str, ...] = (), cut: bool = False) -> _Compact:
    """Make a table without lines.

    Args:
        headings: Names of the columns.
        right: Those of them that hold numbers.
        cut: Cut names that are too long for the terminal off, instead of going on in the next line.
    """
    made = _Compact(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    overflow: OverflowMethod = "ellipsis" if cut else "fold"
    for heading in headings:
        numbers = heading in right
        made.add_column(heading, justify="right" if numbers else "left", no_wrap=numbers, overflow=overflow)
    return made


def print_table(made: Table, *, optional: tuple[str, ...] = ()) -> None:
    """Print a table: as wide as the terminal at most, and as wide as it likes into a pipe or a file.

    Args:
        made: The table.
        optional: Names of columns that are left out, the first ones first, where the terminal is too narrow.
    """
    out = console()
    if out.is_terminal:
        out.print(fitted(made, out, optional))
        return
    out.width = _PIPE
    for line in out.render_lines(made, pad=False):
        click.echo("".join(segment.text for segment in line).rstrip())


def fitted(made: Table, out: Console, optional: tuple[str, ...]) -> Table:
    """Leave columns out of a table until it fits, or none that may be left out is there; returns the table."""
    unlimited = out.options.update(max_width=_PIPE)
    for name in optional:
        if Measurement.get(out, unlimited, made).maximum <= out.width:
            break
        made.columns = [each for each in made.columns if each.header != name]
        for number, column in enumerate(made.columns):
            column._index = number
    return made


def print_indented(text: str, spaces: int, *, style: str = "") -> None:
    """Print text, each line behind so many spaces, and wrapped on a terminal."""
    out = console()
    width = max(20, out.width - spaces) if out.is_terminal else _PIPE
    for line in printable_lines(text).rstrip("\n").split("\n"):
        # Lines that are indented themselves are perhaps code, whose spaces matter.
        wrapped = [line] if line[:1].isspace() else textwrap.wrap(line, width, break_on_hyphens=False) or [""]
        for each in wrapped:
            out.print(Text(f"{' ' * spaces}{each}".rstrip(), style=style), soft_wrap=True)


def print_json(value: Any) -> None:
    """Print a value as JSON: laid out on a terminal, else in one line."""
    # There is no standard output where a shell has closed it (>&-).
    on_terminal = sys.stdout is not None and sys.stdout.isatty()
    click.echo(to_json(value, indent=2 if on_terminal else None))


def to_json(value: Any, *, indent: int | None = None) -> str:
    """Encode a value; what JSON has no form for, such as bytes from MessagePack, is as Python writes it."""
    text = printable_json(json.dumps(value, default=_encodable, indent=indent, ensure_ascii=False))
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except UnicodeEncodeError:
        return json.dumps(value, default=_encodable, indent=indent)
    return text


def _encodable(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return repr(value)
