"""Tables fit the terminal, and what goes into a file has neither colours nor spaces at the ends of lines."""

import io

import pytest
from rich.console import Console

from amphora.cli.output import fitted, print_indented, print_table, table, to_json


def servers():
    made = table("SERVER", "VERSION", "CALLS/s", "ERRORS", right=("CALLS/s", "ERRORS"))
    made.add_row("web1:4711", "1.0.0a1", "814.3", "[red]25[/]")
    return made


def shown(width: int) -> list[str]:
    out = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    out.print(fitted(servers(), out, ("VERSION", "ERRORS")))
    return out.file.getvalue().splitlines()


@pytest.mark.parametrize(
    "headings",
    ["SERVER     VERSION  CALLS/s  ERRORS", "SERVER     CALLS/s  ERRORS", "SERVER     CALLS/s"],
)
def test_columns_are_left_out_until_a_table_fits(headings):
    heading, row = shown(len(headings))

    assert heading.rstrip() == headings
    assert row.startswith("web1:4711  ")
    assert len(row) <= len(headings)


def test_a_table_in_a_file_is_as_wide_as_it_likes(capsys):
    made = table("QUEUE", "KIND")
    made.add_cells("q" * 200, ("label", "red"))

    print_table(made, optional=("KIND",))

    assert capsys.readouterr().out.splitlines() == [f"QUEUE{' ' * 195}  KIND", f"{'q' * 200}  label"]


def test_text_is_indented_and_code_in_it_stays_as_it_is(capsys):
    print_indented("One.\n\n    code()\n", 2)

    assert capsys.readouterr().out == "  One.\n\n      code()\n"


def test_what_json_has_no_form_for_is_as_python_writes_it():
    assert to_json({"a": b"x", "b": "ü"}) == '{"a": "b\'x\'", "b": "ü"}'
