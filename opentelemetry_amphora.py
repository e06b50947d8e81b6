"""The instrumentor's former place; it is in `amphora.contrib.opentelemetry_instrumentor`."""

import warnings

from amphora.contrib.opentelemetry_instrumentor import AmphoraInstrumentor

__all__ = ["AmphoraInstrumentor"]

warnings.warn(
    "opentelemetry_amphora is deprecated and will be removed in the next release: import AmphoraInstrumentor from "
    "amphora.contrib.opentelemetry_instrumentor",
    DeprecationWarning,
    stacklevel=2,
)
