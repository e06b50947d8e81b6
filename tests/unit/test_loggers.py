"""Log records of Amphora: text that another program wrote cannot begin a line in them."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import amphora.version

PACKAGE = Path(amphora.version.__file__).parent
MODULES = [each for each in sorted(PACKAGE.rglob("*.py")) if "cli" not in each.parts]

#: Modules of the core with a logger of their own, which log names and numbers of this process alone.
OF_THEIR_OWN = {"endpoint.endpoint", "threads.hub_thread", "logs.note_log", "server.serving"}

METHODS = {"critical", "debug", "error", "exception", "info", "log", "warning"}

#: Words in the names of what messages bring.
REMOTE = ("message", "request.", "reply.", "delivery", "letter", "properties", "result_id", "result.id", "body")


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def calls(path: Path) -> Iterator[ast.Call]:
    """Yield the calls of a module's logger, each of which has a text."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Call(func=ast.Attribute(value=logger, attr=name), args=[_, *_]):
                if name in METHODS and ast.unparse(logger) in ("logger", "self._logger"):
                    yield node


@pytest.mark.parametrize("path", [each for each in MODULES if "contrib" not in each.parts], ids=name_of)
def test_a_module_of_the_core_logs_by_the_logger_that_cleans(path: Path) -> None:
    source = path.read_text()

    assert "getLogger(" not in source or "NoteLogger(__name__)" in source or name_of(path) in OF_THEIR_OWN


@pytest.mark.parametrize("path", [each for each in MODULES if "contrib" in each.parts], ids=name_of)
def test_an_integration_logs_what_messages_bring_in_quotes_or_cleaned(path: Path) -> None:
    for call in calls(path):
        text, *arguments = map(ast.unparse, call.args)
        raw = [each for each in arguments if any(word in each for word in REMOTE)]
        assert not raw or "%s" not in text, ast.unparse(call)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_record_is_put_together_before_it_is_logged(path: Path) -> None:
    assert not [ast.unparse(each) for each in calls(path) if isinstance(each.args[0], (ast.JoinedStr, ast.BinOp))]
