"""What `amphora doctor` can tell without a broker: versions, patching, limits of this machine."""

from __future__ import annotations

import platform
import resource
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from gevent import monkey

from amphora import __version__
from amphora.cli.report import Finding, Level

__all__ = ["local_findings"]

#: What must be patched.
_PATCHED = ("socket", "select", "ssl", "threading", "time", "subprocess", "signal")

#: Fewer open files than this are few: each client and server has two connections.
_FILES = 1024


def local_findings() -> Iterator[Finding]:
    """Look at this machine and this installation."""
    packages = ", ".join(f"{name} {_version(name)}" for name in ("gevent", "kombu", "amqp"))
    yield Finding("versions", Level.GOOD, f"Amphora {__version__}, Python {platform.python_version()}, {packages}")
    missing = [name for name in _PATCHED if not monkey.is_module_patched(name)]
    if missing:
        yield Finding(
            "patching",
            Level.ERROR,
            f"gevent has not patched {', '.join(missing)}",
            "run it as `amphora` or `python -m amphora`, which patch first",
        )
    else:
        yield Finding("patching", Level.GOOD, "the standard library is gevent's")
    if find_spec("orjson") is None or find_spec("msgspec") is None:
        text = "orjson and msgspec are not installed, which encode faster, with the same results"
        yield Finding("speed", Level.NOTE, text, "pip install 'amphora[speed]'")
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < _FILES:
        yield Finding(
            "open files",
            Level.WARNING,
            f"this user may have {soft} of them, and connections are such",
            f"raise it to {_FILES} or more: `ulimit -n {_FILES}`, or LimitNOFILE= of the systemd unit",
        )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "of unknown version"
