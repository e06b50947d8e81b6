"""Every code block of every page is executed by a test, as far as the tests' sources tell.

A test that has the mark `page` and runs takes all blocks of its page, or else fails (`tests/conftest.py`). What is left
to look at is whether there is such a test for every block, and whether it may run.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tests.support.pages import Block, all_pages, blocks_of
from tests.support.processes import ROOT

PAGES = [str(path.relative_to(ROOT)) for path in all_pages()]
#: Marks with which a test may not run, or may fail. A whole module may be skipped, as a release of Django may lack it.
NOT_AT_ALL = ("skip", "skipif", "xfail")


@dataclass(frozen=True)
class Execution:
    """A test, or a class or module of tests, with the mark `page`: the page, and the headings if not all are meant."""

    where: str
    page: str
    headings: tuple[str, ...]

    def covers(self, block: Block) -> bool:
        """Whether it executes a block."""
        return block.page == self.page and (not self.headings or block.heading in self.headings)


@cache
def executions() -> list[Execution]:
    """Return all that is marked in the sources of the tests."""
    return [each for path in sorted((ROOT / "tests").rglob("test_*.py")) for each in _executions_of(path)]


@pytest.mark.parametrize("page", PAGES)
def test_every_block_of_a_page_is_executed(page: str) -> None:
    unexecuted = [block for block in blocks_of(page) if not any(each.covers(block) for each in executions())]

    assert not unexecuted, (
        "no test executes " + "; ".join(map(str, unexecuted)) + ": see `page` in tests/conftest.py, or add the page to "
        "tests/documentation/test_guides.py"
    )


def test_what_tests_execute_is_there() -> None:
    gone = [each for each in executions() if not any(each.covers(block) for page in PAGES for block in blocks_of(page))]

    assert gone == []


def _executions_of(path: Path) -> Iterator[Execution]:
    source = path.read_text()
    if "mark.page(" not in source:
        return
    for statement in ast.walk(ast.parse(source)):
        match statement:
            case ast.FunctionDef(name=name, decorator_list=marks) if name.startswith("test_"):
                where = f"{path.relative_to(ROOT)}::{name}"
            case ast.ClassDef(name=name, decorator_list=marks) if name.startswith("Test"):
                where = f"{path.relative_to(ROOT)}::{name}"
            case ast.Assign(targets=[ast.Name(id="pytestmark")], value=mark):
                where, marks = str(path.relative_to(ROOT)), [mark]
            case _:
                continue
        calls = [each for mark in marks for each in ast.walk(mark) if isinstance(each, ast.Attribute | ast.Call)]
        named = [call for call in calls if isinstance(call, ast.Call) and _is_mark(call.func, "page")]
        if named and any(_is_mark(each, name) for each in calls for name in NOT_AT_ALL):
            raise AssertionError(f"{where} executes a page, and may be skipped")
        for call in named:
            page, *headings = (ast.literal_eval(argument) for argument in call.args)
            yield Execution(where, page, tuple(headings))


def _is_mark(node: ast.AST, name: str) -> bool:
    """Whether this is `pytest.mark.name`."""
    match node:
        case ast.Attribute(value=ast.Attribute(value=ast.Name(id="pytest"), attr="mark"), attr=attribute):
            return attribute == name
    return False
