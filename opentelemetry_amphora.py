"""Amphora's instrumentor for OpenTelemetry: traces all clients and servers of a program, see docs/observability.md.

It is no module of the package: ``opentelemetry-instrument`` loads it in every program where Amphora is installed,
before the program's first line. Whoever does not use Amphora shall not pay for it, nor have gevent imported before it
patches.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import wrapt
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]
from opentelemetry.instrumentation.utils import unwrap

__all__ = ["AmphoraInstrumentor"]

#: What has a constructor of its own; the fan-out classes inherit theirs.
_CLASSES = ("AmqpRpcClient", "AmqpRpcServer")


class AmphoraInstrumentor(BaseInstrumentor):  # type: ignore[misc]
    """Traces all clients and servers that are made from now on, wherever the program makes them.

    ::

        AmphoraInstrumentor().instrument()

    ``opentelemetry-instrument`` does this by itself. The argument ``tracer_provider`` is the provider of the spans; by
    default the program's. After ``uninstrument()`` nothing is traced any more, except by
    `amphora.contrib.opentelemetry.instrument`.
    """

    def instrumentation_dependencies(self) -> Collection[str]:
        """Name what is instrumented."""
        return ("amphora",)

    def _instrument(self, **kwargs: Any) -> None:
        self._wrapped: Any = None
        self._enabled = enabled = _Switch()
        provider = kwargs.get("tracer_provider")

        def wrap(module: Any) -> None:
            """Trace what is made, now that the program imports Amphora, or has done so."""
            if not enabled():
                return
            from amphora.contrib.opentelemetry import instrument  # noqa: PLC0415  (see the docstring above)

            def trace_new(construct: Callable[..., None], endpoint: Any, args: Any, options: Any) -> None:
                construct(*args, **options)
                instrument(endpoint, provider, enabled=enabled)

            for each in _CLASSES:
                wrapt.wrap_function_wrapper(module, f"{each}.__init__", trace_new)
            self._wrapped = module

        wrapt.register_post_import_hook(wrap, "amphora")

    def _uninstrument(self, **kwargs: Any) -> None:  # noqa: ARG002
        self._enabled.off()
        if self._wrapped is not None:
            for each in _CLASSES:
                unwrap(getattr(self._wrapped, each), "__init__")


class _Switch:
    """Tells whether it is still on."""

    def __init__(self) -> None:
        self._on = True

    def __call__(self) -> bool:
        return self._on

    def off(self) -> None:
        """Be off from now on, for ever."""
        self._on = False
