"""`stub_of`: the functions of a running service as the source of a class for `AmqpRpcClient.bind`."""

from __future__ import annotations

import ast
import keyword
from collections.abc import Iterable
from textwrap import indent
from typing import Any

from amphora.client.inspector import RemoteFunction
from amphora.logs.remote_text import printable_lines

__all__ = ["stub_of"]

#: Names that an annotation may have: what they mean is the same everywhere.
_KNOWN = frozenset(
    {"Any", "bool", "bytes", "dict", "float", "frozenset", "int", "list", "object", "set", "str", "tuple", "None"}
)

_NOTHING = "...\n"

#: Characters of a signature.
_LONGEST = 10_000

_HEAD = '''"""Functions of the RPC service {service}, as its servers described them."""

from typing import Any, Protocol
'''


def stub_of(functions: Iterable[RemoteFunction], *, service: str) -> str:
    """Write the classes that describe functions, for a module of their own.

    Types that the reader's program may not have become ``Any``, and defaults ``...``: they are the server's.

    Args:
        functions: What `Inspector.functions` gives.
        service: Name of the service; the class is named after it.

    Returns:
        Source of a module, formatted. Functions whose names cannot be those of methods are in a comment.
    """
    tree: dict[str, Any] = {}
    left_out = []
    for function in sorted(functions, key=lambda each: each.name):
        *groups, name = function.name.split(".")
        if not all(part.isidentifier() and not keyword.iskeyword(part) and part[0] != "_" for part in (*groups, name)):
            left_out.append(function.name)
            continue
        at: Any = tree
        for group in groups:
            at = at.setdefault(group, {}) if isinstance(at, dict) else at
        if isinstance(at, dict) and not isinstance(at.get(name), dict):
            at[name] = function
        else:
            # A function and a group of functions with one name.
            left_out.append(function.name)
    # A docstring may hold anything but its own end.
    shown = ascii(service).replace("\\", "\\\\").replace('"', "'")
    parts = [_HEAD.format(service=shown), *_classes(_class_name(service), tree)]
    if left_out:
        names = "\n".join(f"#     client.call(function_name={name!r})(...)" for name in left_out)
        parts.append(f"# Not methods, for their names cannot be those of methods:\n{names}\n")
    return "\n\n".join(parts)


def _classes(name: str, tree: dict[str, Any]) -> list[str]:
    """Return the source of a class, after those of the groups in it."""
    before: list[str] = []
    attributes, methods = [], []
    for member, value in tree.items():
        if isinstance(value, dict):
            group = f"{name}{_class_name(member)}"
            before += _classes(group, value)
            attributes.append(f"{member}: {group}\n")
        else:
            methods.append(_method(member, value))
    body = "".join(attributes) + ("\n" if attributes and methods else "") + "\n".join(methods)
    return [*before, f"class {name}(Protocol):\n{indent(body or _NOTHING, '    ')}"]


def _method(name: str, function: RemoteFunction) -> str:
    try:
        head = _head(name, function.signature)
    except (MemoryError, RecursionError, SyntaxError, TypeError, ValueError):
        # Whatever the server wrote there, it is none that Python understands.
        head = _head(name, "(*args, **kwargs)")
    if not function.doc:
        return f"{head}: ...\n"
    docstring = printable_lines(function.doc).replace("\\", "\\\\").replace('"""', "'''").rstrip('"')
    lines = f'"""{docstring}\n"""' if "\n" in docstring else f'"""{docstring}"""'
    return f"{head}:\n{indent(lines, '    ')}\n"


def _head(name: str, signature: str) -> str:
    """Return the line that begins a method.

    Raises:
        MemoryError, RecursionError, SyntaxError, TypeError, ValueError: The signature is none.
    """
    if len(signature) > _LONGEST:
        raise ValueError("the signature is too long")
    definition = ast.parse(f"def {name}{signature}: ...").body[0]
    if not isinstance(definition, ast.FunctionDef):
        raise TypeError("the signature is none")
    # Nothing of it but names and plain annotations is left.
    definition.body, definition.decorator_list = [ast.Expr(ast.Constant(...))], []
    if hasattr(definition, "type_params"):
        definition.type_params = []
    arguments = definition.args
    arguments.defaults = [ast.Constant(...) for _ in arguments.defaults]
    arguments.kw_defaults = [None if each is None else ast.Constant(...) for each in arguments.kw_defaults]
    for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg):
        if each is not None:
            each.annotation = _plain(each.annotation)
    first = arguments.posonlyargs or arguments.args
    first.insert(0, ast.arg(_free(definition)))
    definition.returns = _plain(definition.returns)
    return ast.unparse(ast.fix_missing_locations(definition)).partition(":\n")[0].replace("=...", " = ...")


def _free(definition: ast.FunctionDef) -> str:
    """Return a name for the first parameter that no other one has."""
    arguments = definition.args
    named = (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg)
    taken = {each.arg for each in named if each is not None}
    name = "self"
    while name in taken:
        name += "_"
    return name


def _plain(annotation: ast.expr | None) -> ast.expr:
    """Return an annotation if it means the same everywhere, else ``Any``."""
    if annotation is None:
        return ast.Name("Any")
    for node in ast.walk(annotation):
        allowed = (
            (isinstance(node, ast.Name) and node.id in _KNOWN)
            or (isinstance(node, ast.Constant) and node.value in (None, ...))
            or (isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr))
            or isinstance(node, (ast.Subscript, ast.Tuple, ast.List, ast.expr_context, ast.BitOr))
        )
        if not allowed:
            return ast.Name("Any")
    return annotation


def _class_name(text: str) -> str:
    name = "".join(part[:1].upper() + part[1:] for part in "".join(c if c.isalnum() else " " for c in text).split())
    return name if name.isidentifier() else f"Service{name}"
