"""Imports point down: no module of Amphora imports one of a room above its own, and no room is part of a circle."""

import ast
from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import amphora.version

PACKAGE = Path(amphora.version.__file__).parent

# The rooms, from the top down; a module may import what stands in the rows below its own. "x.*" is the package x and
# all in it, and modules of one package may import each other. Entries of one row do not.
ROOMS = (
    ("amphora.__main__", "amphora.contrib.opentelemetry_instrumentor"),
    (
        "amphora.cli.*",
        "amphora.contrib",
        "amphora.contrib.celery.*",
        "amphora.contrib.django.*",
        "amphora.contrib.opentelemetry",
        "amphora.contrib.prometheus",
        "amphora.testing.*",
    ),
    ("amphora.contrib.multiprocess_metrics", "amphora.contrib.stand_ins.*"),
    ("amphora",),
    ("amphora.threads.*",),
    ("amphora.client.*", "amphora.server.*"),
    ("amphora.endpoint.*",),
    ("amphora.links.*",),
    ("amphora.driver.*",),
    ("amphora.core.*",),
    ("amphora.options.*",),
    ("amphora.protocol.*",),
    ("amphora.serializers.*",),
    ("amphora.logs.*",),
    ("amphora.durations", "amphora.exceptions", "amphora.interrupts", "amphora.value_checks", "amphora.version"),
)

# What the order of the rows would allow, and the design does not.
FORBIDDEN = {
    # The links move bytes, and know nothing of what a message means; the driver knows nothing of Amphora's messages.
    "amphora.links.*": ("amphora.protocol.messages", "amphora.protocol.routing"),
    "amphora.driver.*": ("amphora.protocol.*",),
    # The state machines know what happens to messages, not what is in them.
    "amphora.core.*": ("amphora.protocol.*", "amphora.options.*", "amphora.serializers.*", "amphora.logs.*"),
}

# An integration uses what every user can: the public names.
PUBLIC_API_ONLY = (
    "amphora.cli.*",
    "amphora.contrib.celery.*",
    "amphora.contrib.django.*",
    "amphora.contrib.opentelemetry",
    "amphora.contrib.prometheus",
    "amphora.testing.*",
)

# But the command line offers an integration to those who start a server with it, reads URLs as clients do, and names
# options of its own where errors advise programs to set something. What prints text of others uses the one function for
# that, and what is public for tests is public for those of an integration. Settings come from the options' fields.
OPTION_FIELDS = (
    "amphora.options.client_options",
    "amphora.options.fields",
    "amphora.options.server_options",
    "amphora.value_checks",
)
AND_ALSO = {
    "amphora.cli.*": (
        *OPTION_FIELDS,
        "amphora.options.advice",
        "amphora.options.brokers",
        "amphora.contrib.django.databases",
        "amphora.contrib.prometheus",
        "amphora.logs.remote_text",
        "amphora.options.urls",
    ),
    # Where Django is set up, its databases are looked after, whoever serves.
    "amphora.contrib.celery.*": (
        *OPTION_FIELDS,
        "amphora.contrib.django.databases",
        "amphora.contrib.django.late_patching",
        "amphora.contrib.stand_ins.*",
        "amphora.logs.remote_text",
    ),
    "amphora.contrib.django.*": (*OPTION_FIELDS, "amphora.contrib.stand_ins.*", "amphora.logs.remote_text"),
    "amphora.contrib.django.testing.*": ("amphora.testing",),
    "amphora.contrib.prometheus": ("amphora.contrib.multiprocess_metrics",),
}

# Packages that only some rooms may import.
ONLY_IN = {
    "kombu": ("amphora.links.*", "amphora.driver.*"),
    "amqp": ("amphora.links.*", "amphora.driver.*"),
    "vine": ("amphora.links.*", "amphora.driver.*"),
}
# The protocol is pure: no AMQP library, no concurrency, no input or output.
NOT_IN_PROTOCOL = ("gevent", "greenlet", "socket", "ssl", "select", "selectors", "threading", "asyncio", "subprocess")
# The state machines are told the time, and write no log: what they would say is a note that others emit.
NOT_IN_CORE = (*NOT_IN_PROTOCOL, "time", "random", "logging", "os")

Modules = Mapping[str, str]
"""Sources by module name; a package's `__init__.py` has the package's name."""


def test_every_import_points_down():
    assert violations(modules_of(PACKAGE)) == []


def test_no_modules_import_each_other_in_a_circle():
    modules = modules_of(PACKAGE)
    graph = {name: {target for target in imports(name, modules) if target in modules} for name in modules}

    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"modules import each other: {' -> '.join(error.args[1])}")


# The rules themselves, on invented modules.

BELOW = {
    "amphora": "",
    "amphora.links": "",
    "amphora.protocol": "",
    "amphora.exceptions": "",
    "amphora.options.settings": "",
}


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("amphora.exceptions", "import amphora.server"),
        ("amphora.exceptions", "from amphora import AmqpRpcClient"),
        ("amphora.protocol.names", "from ..links.publisher import Publisher"),
        ("amphora.protocol.names", "from amphora import links"),
        ("amphora.links.publisher", "if TYPE_CHECKING:\n    from amphora.endpoint.endpoint import Endpoint"),
        ("amphora.endpoint.endpoint", "def f():\n    from amphora import client"),
        ("amphora.server.server", "from amphora.client.client import AmqpRpcClient"),
        ("amphora.client.client", "from amphora.threads import hub_thread"),
        ("amphora.links.publisher", "from amphora.protocol.messages import Request"),
        ("amphora.links.publisher", "from amphora.protocol import messages"),
        ("amphora.contrib.django.apps", "from amphora.contrib.celery import app"),
        ("amphora.contrib.celery.app", "from amphora.links import publisher"),
        ("amphora.contrib.celery.app", "from amphora.client import AmqpRpcClient"),
        ("amphora.server", "import kombu"),
        ("amphora.options.settings", "from kombu.utils.url import parse_url"),
        ("amphora.protocol.names", "from gevent.event import Event"),
        ("amphora.protocol.names", "import amqp.exceptions"),
        ("amphora.protocol.names", "import socket"),
        ("amphora.core.outbox", "from time import monotonic"),
        ("amphora.core.outbox", "import logging"),
        ("amphora.core.outbox", "from amphora.links import publisher"),
    ],
)
def test_an_arrow_that_points_up_is_caught(name, source):
    modules = {**BELOW, **dict.fromkeys(("amphora.client", "amphora.protocol.messages"), ""), name: source}

    assert [violation.partition(" ")[0] for violation in violations(modules)] == [name]


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("amphora", "from .server import AmqpRpcServer\nfrom amphora.exceptions import NoResult"),
        ("amphora.__main__", "from amphora.cli import main"),
        ("amphora.contrib.django.apps", "from amphora import AmqpRpcClient\nfrom . import models"),
        ("amphora.client", "from amphora.client.caller import PrettyCaller\nimport gevent"),
        ("amphora.links.publisher", "import kombu, amqp\nfrom .connection import Link\nfrom ..protocol import names"),
        ("amphora.protocol.messages", "from amphora import exceptions\nfrom .names import Names\nimport json"),
        ("amphora.options.settings", "from ..exceptions import AmqpRpcException"),
    ],
)
def test_an_arrow_that_points_down_is_not_caught(name, source):
    below = dict.fromkeys(("amphora.protocol.names", "amphora.server"), "")

    assert violations({**BELOW, **below, name: source}) == []


def test_a_module_that_no_room_names_is_caught():
    assert violations({**BELOW, "amphora.utils": ""}) == ["amphora.utils stands in no room"]


# How imports are read.


def modules_of(package: Path) -> Modules:
    """Read all modules of a package."""
    modules = {}
    for path in sorted(package.rglob("*.py")):
        parts = [package.name, *path.relative_to(package).with_suffix("").parts]
        if parts[-1] == "__init__":
            del parts[-1]
        modules[".".join(parts)] = path.read_text()
    return modules


def violations(modules: Modules) -> list[str]:
    """Return a sentence for every import that the rules forbid."""
    found = [f"{name} stands in no room" for name in modules if row_of(name) is None]
    for name in modules:
        if row_of(name) is not None:
            found += [f"{name} imports {target}" for target in imports(name, modules) if not may_import(name, target)]
    return sorted(found)


def may_import(name: str, target: str) -> bool:
    """Say whether one module may import another, of Amphora or not."""
    library = target.partition(".")[0]
    if library != "amphora":
        if library in ONLY_IN and not is_in(name, ONLY_IN[library]):
            return False
        if is_in(name, ("amphora.core.*",)):
            return library not in NOT_IN_CORE
        return not (is_in(name, ("amphora.protocol.*",)) and library in NOT_IN_PROTOCOL)
    if entry_of(name) == entry_of(target):
        return True
    if is_in(name, PUBLIC_API_ONLY):
        also = [targets for importer, targets in AND_ALSO.items() if is_in(name, (importer,))]
        return target == "amphora" or any(is_in(target, targets) for targets in also)
    if any(is_in(name, (importer,)) and is_in(target, targets) for importer, targets in FORBIDDEN.items()):
        return False
    own, other = row_of(name), row_of(target)
    if own is None or other is None:
        return False
    return own < other


def imports(name: str, modules: Modules) -> list[str]:
    """Return the modules that one imports (whole, or a name of theirs), wherever the statement stands."""
    # Relative imports start from a package itself, and from a module's parent.
    is_package = any(other.startswith(f"{name}.") for other in modules)
    here = name.split(".") if is_package else name.split(".")[:-1]
    found = []
    for node in ast.walk(ast.parse(modules[name])):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = here[: len(here) - node.level + 1] if node.level else []
            origin = ".".join([*start, *([node.module] if node.module else [])])
            submodules = (f"{origin}.{alias.name}" for alias in node.names)
            found += [module if is_module(module, modules) else origin for module in submodules]
    return [target for target in dict.fromkeys(found) if target != name]


def is_module(name: str, modules: Modules) -> bool:
    """Say whether a dotted name is a module of Amphora: a file that exists, or one that a room names."""
    return name in modules or any(name == entry.removesuffix(".*") for row in ROOMS for entry in row)


def row_of(name: str) -> int | None:
    """Return the number of a module's row, from the top."""
    return next((number for number, row in enumerate(ROOMS) if is_in(name, row)), None)


def entry_of(name: str) -> str | None:
    """Return the entry of `ROOMS` that covers a module."""
    return next((entry for row in ROOMS for entry in row if is_in(name, (entry,))), None)


def is_in(name: str, entries: Iterable[str]) -> bool:
    """Say whether a module is one of these, or in one of these packages."""
    for entry in entries:
        package = entry.removesuffix(".*")
        if name == package or (entry != package and name.startswith(f"{package}.")):
            return True
    return False
