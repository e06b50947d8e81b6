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
        loop_lag (float): Seconds that the event loop needed for one turn: what runs without waiting holds up
            everything else for so long.
    """

    connected: bool
    consuming: bool
    blocked: bool
    loop_lag: float

    @property
    def ready(self) -> bool:
        """Whether requests and calls get through."""
        return self.connected and self.consuming and not self.blocked

    def __str__(self) -> str:
        states = [
            "connected" if self.connected else "not connected",
            "consuming" if self.consuming else "not consuming",
            *(["blocked by the broker"] if self.blocked else []),
        ]
        return f"{'ready' if self.ready else 'not ready'}: {', '.join(states)}; event loop lag {self.loop_lag:.3f} s"
