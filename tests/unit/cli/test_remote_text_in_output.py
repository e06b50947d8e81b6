"""Everything that commands print goes through one module, which cleans what other programs have written."""

import ast
from pathlib import Path

import pytest

from amphora.cli import output
from tests.support.hostile_server import HOSTILE, is_clean

COMMANDS = Path(output.__file__).parent

#: What prints, or takes text for rich's markup, and the modules that may use it. They print text of ours alone, or are
#: the ones that clean.
PRINTS = {
    "click.echo": {"output", "completion"},
    "click.secho": set(),
    "click.style": set(),
    "print": {"output", "top"},
    "rich": {"output", "bench", "top"},
    "rich.print": set(),
    "rich.markup": set(),
    # (A probe cleans each line by itself, and imports nothing for it.)
    "sys.stdout.write": {"probe"},
    "sys.stderr.write": {"entry"},
    "add_row": {"output"},
    "Console": {"output"},
    "Text": {"output"},
}


def uses(source: str) -> set[str]:
    """Return which of these a module uses."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            found |= {each for each in PRINTS if called == each or called.endswith(f".{each}")}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {each for each in PRINTS if node.module == each or node.module.startswith(f"{each}.")}
        elif isinstance(node, ast.Import):
            found |= {each for each in PRINTS for alias in node.names if alias.name == each}
    return found


@pytest.mark.parametrize("path", sorted(COMMANDS.glob("*.py")), ids=lambda path: path.stem)
def test_no_command_prints_past_the_module_that_cleans(path: Path) -> None:
    used = uses(path.read_text())

    assert {each for each in used if path.stem not in PRINTS[each]} == set()


@pytest.mark.parametrize(
    "source", ["print(x)", "click.echo(x)", "import rich", "from rich.markup import escape", "out.add_row(x)"]
)
def test_what_prints_is_found(source: str) -> None:
    assert uses(source)


def test_every_way_to_print_cleans(capsys: pytest.CaptureFixture[str]) -> None:
    rows = output.table("A", "B")
    rows.add_cells(HOSTILE, (HOSTILE, "red"))
    output.print_table(rows)
    output.print_line(HOSTILE, (HOSTILE, "bold"))
    output.print_line(HOSTILE, err=True)
    output.print_lines(HOSTILE)
    output.print_indented(HOSTILE, 4)
    output.print_json({HOSTILE: [HOSTILE]})

    shown = capsys.readouterr()
    assert is_clean(shown.out)
    assert is_clean(shown.err)
    # Two lines of a table, one of text, three of lines and as many of indented text, one of JSON.
    assert len(shown.out.splitlines()) == 2 + 1 + 2 + 2 + 1
    assert "[/]\\[bold][link=x]" in shown.out
