"""Run the Python of the documentation, and hold what it gives against what its comments say."""

import ast
import re
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from tests.support.pages import Block

_ENDPOINT = re.compile(r"\b((?:AmqpRpc(?:Fanout)?(?:Client|Server)|ThreadedClient)\(\"\w+\")")


def at(broker_url: str, source: str) -> str:
    """Give each client and server in the source a broker: that of a reader is at the usual place, ours is not."""
    return _ENDPOINT.sub(rf"\1, broker_url={broker_url!r}", source)


def run_fragment(source: str, names: dict[str, Any], name: str = "fragment") -> list[tuple[Any, Any]]:
    """Run a part of a program.

    Args:
        source: the part.
        names: what it takes for granted; what it defines is added.
        name: what tracebacks name as its file.

    Returns:
        For each expression with a comment that is a value, or ends in one after a colon: what it gave, and what the
        comment says.
    """
    lines = source.splitlines()
    answers = []
    for statement in ast.parse(source).body:
        if not isinstance(statement, ast.Expr):
            exec(compile(ast.Module([statement], []), name, "exec"), names)
            continue
        value = eval(compile(ast.Expression(statement.value), name, "eval"), names)
        assert statement.end_lineno is not None
        comment = lines[statement.end_lineno - 1][statement.end_col_offset :].partition("# ")[2]
        for said in (comment, comment.rpartition(": ")[2]):
            with suppress(SyntaxError, ValueError):
                answers.append((value, ast.literal_eval(said)))
                break
    return answers


def run_fragments(blocks: Iterable[Block], names: dict[str, Any], broker_url: str = "memory://") -> int:
    """Run blocks one after the other as one program, whose clients and servers are at a broker.

    Returns:
        How many values their comments say.

    Raises:
        AssertionError: one of them is another than what came.
    """
    count = 0
    for block in blocks:
        for given, said in run_fragment(at(broker_url, block.text), names, block.compiled_as):
            assert given == said, str(block)
            count += 1
    return count
