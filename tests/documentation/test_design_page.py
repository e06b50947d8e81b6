"""docs/design.md names the states and the functions that there are."""

import ast
import re

import pytest

from tests.support.processes import ROOT

PAGE = (ROOT / "docs" / "design.md").read_text()
PACKAGE = ROOT / "amphora"

#: The headings of the page's machines, and the modules of their states.
MACHINES = {
    "Link": "core/link.py",
    "Outbox": "core/messages.py",
    "Pending calls": "core/calls.py",
    "Served requests": "core/records.py",
    "Subscriptions": "core/wishes.py",
}


def states(module: str) -> set[str]:
    tree = ast.parse((PACKAGE / module).read_text())
    [found] = [each for each in tree.body if isinstance(each, ast.ClassDef) and each.name in ("State", "CallState")]
    return {
        target.id
        for each in found.body
        if isinstance(each, ast.Assign)
        for target in each.targets
        if isinstance(target, ast.Name)
    }


def section(heading: str) -> str:
    found = re.search(rf"^### {heading}\n(.*?)(?=^##)", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found.group(1)


def methods() -> set[str]:
    """Return the methods of the package, as `Class.method`."""
    return {
        f"{each.name}.{method.name}"
        for path in PACKAGE.rglob("*.py")
        for each in ast.walk(ast.parse(path.read_text()))
        if isinstance(each, ast.ClassDef)
        for method in each.body
        if isinstance(method, ast.FunctionDef)
    }


@pytest.mark.parametrize(("heading", "module"), MACHINES.items())
def test_the_table_of_a_machine_has_its_states(heading: str, module: str) -> None:
    named = re.findall(r"`([A-Z_]+)`", "".join(re.findall(r"^\| (`[^|]*)\|", section(heading), re.MULTILINE)))

    assert sorted(named) == sorted(states(module))


def test_the_functions_that_the_page_names_exist() -> None:
    named = set(re.findall(r"`([A-Z][A-Za-z]+\.[a-z_]+)`", PAGE))

    assert len(named) > 20
    assert named - methods() == set()


def test_the_files_that_the_page_names_exist() -> None:
    named = set(re.findall(r"`([a-z_]+/[a-z_]*(?:\.py)?)`", PAGE))

    assert len(named) > 10
    assert [each for each in named if not (PACKAGE / each).exists()] == []
