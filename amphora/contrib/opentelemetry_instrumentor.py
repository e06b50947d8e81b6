"""Amphora's instrumentor for OpenTelemetry: traces all clients and servers of a program, see docs/observability.md.

``opentelemetry-instrument`` loads it in every program where Amphora is installed, before the program's first line: it
imports neither gevent nor the library, but waits until the program does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import wrapt
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]
from opentelemetry.instrumentation.utils import unwrap

__all__ = ["AmphoraInstrumentor"]

#: What has a constructor of its own, by module; the fan-out classes inherit theirs.
_CLASSES = {"amphora.client.client": "AmqpRpcClient", "amphora.server.server": "AmqpRpcServer"}


class AmphoraInstrumentor(BaseInstrumentor):
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
        self._wrapped: list[Any] = []
        self._enabled = enabled = _Switch()
        provider = kwargs.get("tracer_provider")

        def wrap(module: Any) -> None:
            """Trace what is made, now that the program imports a class of Amphora, or has done so."""
            if not enabled():
                return

            def trace_new(construct: Callable[..., None], endpoint: Any, args: Any, options: Any) -> None:
                from amphora.contrib.opentelemetry import instrument  # noqa: PLC0415  (see the docstring above)

                construct(*args, **options)
                instrument(endpoint, provider, enabled=enabled)

            traced = getattr(module, _CLASSES[module.__name__])
            wrapt.wrap_function_wrapper(traced, "__init__", trace_new)
            self._wrapped.append(traced)

        for name in _CLASSES:
            wrapt.register_post_import_hook(wrap, name)

    def _uninstrument(self, **kwargs: Any) -> None:  # noqa: ARG002
        self._enabled.off()
        for traced in self._wrapped:
            unwrap(traced, "__init__")


class _Switch:
    """Tells whether it is still on."""

    def __init__(self) -> None:
        self._on = True

    def __call__(self) -> bool:
        return self._on

    def off(self) -> None:
        """Be off from now on."""
        self._on = False
