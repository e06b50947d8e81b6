"""One name, one meaning: no class name of the package is defined twice."""

import ast
from collections import defaultdict
from pathlib import Path

import amphora.version

PACKAGE = Path(amphora.version.__file__).parent

#: Names that several modules of one folder define.
ALLOWED = {
    # Kombu looks for them by these names; each of the three transports has one of each, for the same purpose.
    "Channel": "driver",
    "Connection": "driver",
    "Transport": "driver",
    # Django looks for it by this name in each module of a command.
    "Command": "contrib/django/management/commands",
    # Each state machine has its own, in its own module, as its page of theory names them.
    "Kind": "core",
    "Options": "core",
    "Ports": "core",
    "State": "core",
}


def definitions() -> dict[str, list[Path]]:
    """Return the modules that define each name of a class; those within classes are left out."""
    found = defaultdict(list)
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef):
                found[node.name].append(path.relative_to(PACKAGE))
    return found


def test_no_class_name_means_two_things() -> None:
    twice = {
        name: [str(each) for each in modules]
        for name, modules in definitions().items()
        if len(modules) > 1 and {str(each.parent) for each in modules} != {ALLOWED.get(name)}
    }

    assert twice == {}


def test_what_is_allowed_twice_is_there_twice() -> None:
    found = definitions()

    assert [name for name in ALLOWED if len(found[name]) < 2] == []
