"""One name, one meaning: no class name of the package is defined twice."""

import ast
from collections import defaultdict
from pathlib import Path

import amphora.version

PACKAGE = Path(amphora.version.__file__).parent

#: Names that are defined more than once, and why.
ALLOWED = {
    # Kombu looks for them by these names; each of the three transports has one of each, for the same purpose.
    "Channel": 3,
    "Connection": 3,
    "Transport": 3,
    # Django looks for it by this name in each module of a command.
    "Command": 3,
    # Each state machine has its own states, options and ports, in its own module, as its page of theory names them.
    "Kind": 2,
    "Options": 2,
    "Ports": 4,
    "State": 7,
}

#: Those of the two integrations, until they have one stand-in.
ALLOWED_FOR_NOW = {"LazyClient": 2, "LazyServer": 2, "Serving": 2}


def definitions() -> dict[str, list[str]]:
    """Return the modules that define each name of a class; those within classes are left out."""
    found = defaultdict(list)
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef):
                found[node.name].append(str(path.relative_to(PACKAGE)))
    return found


def test_no_class_name_means_two_things() -> None:
    allowed = {**ALLOWED, **ALLOWED_FOR_NOW}
    twice = {name: modules for name, modules in definitions().items() if len(modules) > allowed.get(name, 1)}

    assert twice == {}


def test_no_exception_outlives_its_reason() -> None:
    found = definitions()

    assert {name: len(found[name]) for name in ALLOWED if len(found[name]) > 1} == ALLOWED
