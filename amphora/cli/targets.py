"""Servers by the names under which programs have them: ``package.module:server``."""

from __future__ import annotations

import importlib
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from amphora import AmqpRpcServer
from amphora.cli.exit_codes import BadArguments

__all__ = ["load_server"]


def load_server(target: str) -> AmqpRpcServer:
    """Import a module and return its server.

    Args:
        target: ``package.module:attribute``, where the attribute (or attribute of an attribute) is a server, or a
            function without arguments that makes one. Without an attribute, the only server of the module.

    Raises:
        BadArguments: There is none; the text says why.
    """
    name, _, attribute = target.partition(":")
    if not name or name.endswith(".py") or "/" in name:
        raise BadArguments(f"a server is written package.module:attribute, such as orders.rpc:server, not {target!r}")
    module = _imported(name)
    found = _attribute(module, attribute) if attribute else _only_server(module)
    if isinstance(found, AmqpRpcServer):
        return found
    if not callable(found):
        raise BadArguments(f"{target} is no server, but a {type(found).__name__}")
    try:
        made = found()
    except Exception as error:
        raise BadArguments(f"{target}() raised:\n\n{_own_traceback(error)}") from error
    if not isinstance(made, AmqpRpcServer):
        raise BadArguments(f"{target}() made no server, but a {type(made).__name__}")
    return made


def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise BadArguments(
                f"there is no module {error.name!r} to import, neither installed nor in {Path.cwd()}"
            ) from error
        raise BadArguments(f"importing {name} failed:\n\n{_own_traceback(error)}") from error
    except Exception as error:
        raise BadArguments(f"importing {name} failed:\n\n{_own_traceback(error)}") from error


def _attribute(module: ModuleType, path: str) -> Any:
    found: Any = module
    for part in path.split("."):
        try:
            found = getattr(found, part)
        except AttributeError as error:
            servers = _servers(module)
            known = f"; there is {', '.join(servers)}" if servers else ", nor any other server"
            raise BadArguments(f"module {module.__name__!r} has no {path!r}{known}") from error
    return found


def _only_server(module: ModuleType) -> AmqpRpcServer:
    servers = _servers(module)
    if len(set(servers.values())) == 1:
        return next(iter(servers.values()))
    if not servers:
        raise BadArguments(f"module {module.__name__!r} has no server: make an AmqpRpcServer in it")
    choice = ", ".join(f"{module.__name__}:{name}" for name in servers)
    raise BadArguments(f"module {module.__name__!r} has {len(servers)} servers; name those that you mean: {choice}")


def _servers(module: ModuleType) -> dict[str, AmqpRpcServer]:
    return {name: value for name, value in vars(module).items() if isinstance(value, AmqpRpcServer)}


def _own_traceback(error: BaseException) -> str:
    """Return the traceback from the user's code on: our frames, and those of the import system, tell nothing."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [each for each in frames if each.filename != __file__ and not each.filename.startswith("<frozen importlib")]
    importing = importlib.__file__
    shown = [each for each in own if each.filename != importing]
    # Nor its causes: that of a URL that cannot be read shows a part of it.
    return "".join([*traceback.format_list(shown), *traceback.format_exception_only(error)]).rstrip()
