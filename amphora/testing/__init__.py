"""For tests of programs that call, or serve, remote functions: services in the process of the tests, without a broker.

pytest finds the fixture ``amphora_services`` by itself; see docs/testing.md. The names are loaded when they are first
used: pytest imports this package in every run where Amphora is installed.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from amphora.testing.recorder import CallRecorder, RecordedCall, call_in_words
    from amphora.testing.service import LocalService, LocalServices

_HOMES = {
    "CallRecorder": "amphora.testing.recorder",
    "LocalService": "amphora.testing.service",
    "LocalServices": "amphora.testing.service",
    "RecordedCall": "amphora.testing.recorder",
    "call_in_words": "amphora.testing.recorder",
}

__all__ = ["CallRecorder", "LocalService", "LocalServices", "RecordedCall", "call_in_words"]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
