"""Stubs: classes that describe the functions of a service."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from amphora import RemoteFunction, stub_of


def function(name: str, signature: str = "(x: int) -> int", doc: str = "") -> RemoteFunction:
    return RemoteFunction(name, signature, doc, "shop.rpc", ("server-1",))


def classes(source: str) -> dict[str, Any]:
    """Run a stub."""
    names: dict[str, Any] = {}
    exec(compile(source, "stub.py", "exec"), names)
    return names


FUNCTIONS = [
    function("add", "(x: int, y: int = 1) -> int", "Add two numbers."),
    function("orders.total", "(number: int, *, at: datetime.date | None = None) -> decimal.Decimal", 'Say "total".'),
    function("orders.items.list", "(*numbers: int, **options) -> list[dict[str, int]]"),
    function("find", "(self, /, words: tuple[str, ...], limit: 'int' = <object object at 0x7f>) -> None"),
    function("make", "(x: float = 2.5, /, y=None) -> shop.models.Order"),
    function("min", "(...)"),
    function("strange-name"),
    function("class.name"),
    function("docs", doc='Two lines:\n\n    with \\ and """ in "them"'),
]


def test_a_stub_describes_every_function_that_can_be_a_method() -> None:
    source = stub_of(FUNCTIONS, service="shop")

    assert (
        source
        == '''\
"""Functions of the RPC service 'shop', as its servers described them."""

from typing import Any, Protocol


class ShopOrdersItems(Protocol):
    def list(self, *numbers: int, **options: Any) -> list[dict[str, int]]: ...


class ShopOrders(Protocol):
    items: ShopOrdersItems

    def total(self, number: int, *, at: Any = ...) -> Any:
        """Say "total"."""


class Shop(Protocol):
    orders: ShopOrders

    def add(self, x: int, y: int = ...) -> int:
        """Add two numbers."""

    def docs(self, x: int) -> int:
        """Two lines:

            with \\\\ and \'\'\' in "them
        """

    def find(self, *args: Any, **kwargs: Any) -> Any: ...

    def make(self, x: float = ..., /, y: Any = ...) -> Any: ...

    def min(self, *args: Any, **kwargs: Any) -> Any: ...


# Not methods, for their names cannot be those of methods:
#     client.call(function_name='class.name')(...)
#     client.call(function_name='strange-name')(...)
'''
    )
    assert {"Shop", "ShopOrders", "ShopOrdersItems"} <= classes(source).keys()


def test_a_stub_passes_mypy_in_strict_mode(tmp_path: Path) -> None:
    stub = tmp_path / "shop.py"
    stub.write_text(stub_of(FUNCTIONS, service="shop"))

    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", str(stub)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (checked.returncode, checked.stdout) == (0, "")


def test_a_parameter_called_self_is_not_the_method_s_own() -> None:
    source = stub_of([function("find", "(self, words: str) -> None")], service="shop")

    assert "def find(self_, self: Any, words: str) -> None: ..." in source


@pytest.mark.parametrize("service", ["shop", "2nd shop", "", 'odd"""\n\\', "größe"])
def test_a_stub_can_be_read_whatever_the_service_is_called(service: str) -> None:
    assert classes(stub_of([function("add")], service=service))


def test_a_function_and_a_group_with_one_name_do_not_hide_each_other() -> None:
    source = stub_of([function("orders"), function("orders.total")], service="shop")

    assert "def orders(self, x: int) -> int: ..." in source
    assert "function_name='orders.total'" in source


def test_a_service_without_functions_has_an_empty_class() -> None:
    assert "class Shop(Protocol):\n    ...\n" in stub_of([], service="shop")


@pytest.mark.parametrize(
    "signature", ["(x): pass\nimport os\ndef g()", "() -> int: ...\nprint(1)\n#", "(x=print('run'))"]
)
def test_nothing_that_a_server_says_becomes_code(signature: str) -> None:
    source = stub_of([function("add", signature)], service="shop")

    assert "print" not in source
    assert "import os" not in source


@pytest.mark.parametrize(
    "signature",
    [
        "(" * 5000,
        "(x=" + "(" * 150 + ")" * 150 + ")",
        "(x=" + "-" * 100_000 + "1)",
        "(x: " + "list[" * 3000 + "]" * 3000 + ")",
        "(x\x00)",
        "(x\ud800)",
        "): ...\n\nimport os\n\ndef other(",
        "():\n    import os\n    return 1\n\nimport os\n#",
        "(x=__import__('os').abort())",
        "(x: __import__('os').abort()) -> __import__('os').abort()",
        "[T: __import__('os').abort()](x)",
        "x" * 1_000_000,
        "",
    ],
    ids=range(13),
)
def test_a_signature_that_a_hostile_server_gives_makes_a_stub_that_runs_nothing(signature: str) -> None:
    doc = 'One.\x00\r\x1b[2J"""\nimport os\nos.abort()\n\\"""'
    functions = [
        RemoteFunction(name, signature, doc, "m", ("a",)) for name in ("add", "group.add", "os.abort()", "a\nb")
    ]

    source = stub_of(functions, service='evil"""\nimport os')

    names: dict[str, object] = {}
    exec(compile(source, "stub", "exec"), names)
    assert set(names) <= {
        "__builtins__",
        "__doc__",
        "__annotations__",
        "Any",
        "Protocol",
        "EvilImportOs",
        "EvilImportOsGroup",
    }
    assert all(each.isprintable() or each == "\n" for each in source)
