"""`Health`: whether an endpoint can do its work, for probes."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Health"]


@dataclass(frozen=True, slots=True)
class Health:
    """How an endpoint is; see `AmqpRpcServer.health`.

    Attributes:
        connected (bool): Whether both connections to the broker are up.
        consuming (bool): Whether the broker delivers to it.
        blocked (bool): Whether the broker takes no messages at present (memory or disk alarm).
        loop_lag (float): Seconds by which the event loop was late at the worst, in the last 10 s: what runs without
            waiting holds up everything else for so long.
    """

    connected: bool
    consuming: bool
    blocked: bool
    loop_lag: float

    @property
    def ready(self) -> bool:
        """Whether requests and calls get through."""
        return self.connected and self.consuming and not self.blocked

    def ready_within(self, max_lag: float | None) -> bool:
        """Return whether it is `ready`, and its event loop was not too late.

        Args:
            max_lag: Seconds that it may have been late; None for any.
        """
        return self.ready and not self._is_late(max_lag)

    def describe(self, max_lag: float | None = None) -> str:
        """Say in words how it is, such as ``ready: connected, consuming; event loop lag 0.001 s``.

        Args:
            max_lag: As for `ready_within`.
        """
        states = [
            "connected" if self.connected else "not connected",
            "consuming" if self.consuming else "not consuming",
            *(["blocked by the broker"] if self.blocked else []),
        ]
        ready = "ready" if self.ready_within(max_lag) else "not ready"
        late = f", more than {max_lag:g} s" if self._is_late(max_lag) else ""
        return f"{ready}: {', '.join(states)}; event loop lag {self.loop_lag:.3f} s{late}"

    def __str__(self) -> str:
        return self.describe()

    def _is_late(self, max_lag: float | None) -> bool:
        return max_lag is not None and self.loop_lag > max_lag
