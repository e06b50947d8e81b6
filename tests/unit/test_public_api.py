"""The public names: all there, all documented."""

import ast
import inspect
import pydoc
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import amphora
from amphora import AmqpRpcClient, AmqpRpcFanoutClient, AmqpRpcFanoutServer, AmqpRpcServer

CLASSES = [AmqpRpcServer, AmqpRpcFanoutServer, AmqpRpcClient, AmqpRpcFanoutClient]

#: What the documentation of 0.1 names.
OF_0_1 = {
    "AbstractRpcSerializer",
    "AmqpRpcClient",
    "AmqpRpcException",
    "AmqpRpcFanoutClient",
    "AmqpRpcFanoutServer",
    "AmqpRpcServer",
    "IgnoreRequest",
    "NoResult",
    "RemoteException",
    "RpcJsonSerializer",
    "WrongRequest",
    "WrongResult",
}

PUBLIC_METHODS = sorted(
    {
        pytest.param(member, id=f"{cls.__name__}.{name}")
        for cls in CLASSES
        for name, member in inspect.getmembers(cls, inspect.isfunction)
        if not name.startswith("_")
    },
    key=lambda param: str(param.id),
)


def undocumented(parameters: list[str], docstring: str) -> list[str]:
    """Return the parameters that have no line of their own among the arguments."""
    _, _, described = docstring.partition("Args:\n")
    return [name for name in parameters if not re.search(rf"^\s+{name}: \S", described, re.MULTILINE)]


def parameters_of(function: Any) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name != "self"]


def test_everything_that_is_named_as_public_is_there() -> None:
    assert [name for name in amphora.__all__ if not hasattr(amphora, name)] == []
    assert amphora.__all__ == sorted(amphora.__all__, key=lambda name: (not name[0].isupper(), name))


def test_what_type_checkers_see_is_what_is_loaded() -> None:
    source = Path(amphora.__file__).read_text()
    (block,) = [each for each in ast.parse(source).body if isinstance(each, ast.If)]
    seen = {alias.name: each.module for each in block.body if isinstance(each, ast.ImportFrom) for alias in each.names}

    assert seen == amphora._HOMES
    assert sorted(seen) == sorted(amphora.__all__)
    assert set(dir(amphora)) >= set(amphora.__all__)


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'amphora' has no attribute 'AmqpRpcClint'"):
        amphora.AmqpRpcClint  # noqa: B018


@pytest.mark.parametrize(
    "module",
    [
        "amphora",
        "amphora.exceptions",
        "amphora.testing",
        "amphora.testing.pytest_plugin",
        "amphora.cli.entry",
        "amphora.cli.program",
        "amphora.contrib.django",
        "amphora.contrib.opentelemetry_instrumentor",
    ],
)
def test_what_is_imported_before_gevent_patches_imports_nothing_that_is_patched(module: str) -> None:
    # (pytest and OpenTelemetry may import it by themselves.)
    foreign = module in ("amphora.testing.pytest_plugin", "amphora.contrib.opentelemetry_instrumentor")
    unwanted = {"gevent", "kombu", "amqp"} | (set() if foreign else {"ssl"})
    source = f"import sys, {module}; print(sorted({unwanted} & {{*sys.modules}}))"

    shown = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True).stdout

    assert shown == "[]\n"


def test_everything_that_0_1_documents_is_public() -> None:
    assert set(amphora.__all__) >= OF_0_1


def test_every_exception_is_public() -> None:
    assert set(amphora.__all__) >= set(amphora.exceptions.__all__)


@pytest.mark.parametrize("name", [name for name in amphora.__all__ if name != "__version__"])
def test_every_public_name_has_a_docstring_of_its_own(name: str) -> None:
    named = getattr(amphora, name)
    # A class without one would show that of its parent.
    docstring = (vars(named).get("__doc__") if isinstance(named, type) else named.__doc__) or ""

    assert re.match(r"\S.*[.:\n]", docstring)


@pytest.mark.parametrize("cls", [AmqpRpcServer, AmqpRpcClient])
def test_every_argument_of_a_constructor_is_documented(cls: type) -> None:
    assert undocumented(parameters_of(cls), inspect.getdoc(cls) or "") == []


@pytest.mark.parametrize("method", PUBLIC_METHODS)
def test_every_argument_of_a_public_method_is_documented(method: Any) -> None:
    docstring = inspect.getdoc(method) or ""

    assert docstring != ""
    assert undocumented(parameters_of(method), docstring) == []


@pytest.mark.parametrize("cls", CLASSES)
def test_every_public_property_is_documented(cls: type) -> None:
    properties = inspect.getmembers(cls, lambda member: isinstance(member, property))

    assert [name for name, member in properties if not name.startswith("_") and not inspect.getdoc(member)] == []


@pytest.mark.parametrize("cls", CLASSES)
def test_help_renders(cls: type) -> None:
    text = pydoc.plain(pydoc.render_doc(cls))

    assert text.startswith(f"Python Library Documentation: class {cls.__name__}")
    for word in ("serve(self, nowait", "stop(self)", "stop_publisher(self)", "broker_url"):
        assert word in text
    assert re.findall(r"at 0x[0-9a-f]+", text) == []


@pytest.mark.parametrize("module", ["amphora", "amphora.exceptions", "amphora.serializers"])
def test_help_on_a_public_module_renders(module: str) -> None:
    assert len(pydoc.plain(pydoc.render_doc(module))) > 1000


def test_the_version_is_that_of_a_release_in_the_making() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", amphora.__version__)
