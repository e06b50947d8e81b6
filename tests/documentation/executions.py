"""What the sources of the tests say about the pages whose code blocks they execute."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.support.pages import Block, all_pages, blocks_of
from tests.support.processes import ROOT

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
def executions() -> tuple[Execution, ...]:
    """Return all that is marked in the sources of the tests, with a literal page."""
    return tuple(each for path in sorted((ROOT / "tests").rglob("test_*.py")) for each in _executions_of(path))


@cache
def pages_with_blocks() -> tuple[str, ...]:
    """Return the paths of the pages that have code blocks, from the project's root."""
    pages = [str(path.relative_to(ROOT)) for path in all_pages()]
    return tuple(page for page in pages if blocks_of(page))


@cache
def guides() -> tuple[str, ...]:
    """Return the pages with blocks that have no test of their own."""
    return tuple(page for page in pages_with_blocks() if page not in {each.page for each in executions()})


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
        nodes = [node for mark in marks for node in ast.walk(mark)]
        named = [node for node in nodes if isinstance(node, ast.Call) and _is_mark(node.func, "page")]
        if named and any(_is_mark(node, name) for node in nodes for name in NOT_AT_ALL):
            raise ValueError(f"{where} executes a page, and may be skipped")
        for call in named:
            if all(isinstance(argument, ast.Constant) for argument in call.args):
                page, *headings = (ast.literal_eval(argument) for argument in call.args)
                yield Execution(where, page, tuple(headings))


def _is_mark(node: ast.AST, name: str) -> bool:
    """Whether this is `pytest.mark.name`."""
    match node:
        case ast.Attribute(value=ast.Attribute(value=ast.Name(id="pytest"), attr="mark"), attr=attribute):
            return attribute == name
    return False
