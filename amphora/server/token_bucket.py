"""`TokenBucket`: how much may be done for others in a while (a token bucket)."""

from __future__ import annotations

__all__ = ["TokenBucket"]


class TokenBucket:
    """Allows work of a cost per second, and some more after a pause.

    Work is begun while anything is left, whatever it turns out to cost; what is overdrawn is made up for by the next
    pause. It knows no clock.

    Args:
        rate: Cost per second.
        most: Cost that can be saved up.
    """

    __slots__ = ("_at", "_left", "_most", "_rate")

    def __init__(self, rate: float, most: float) -> None:
        self._rate = rate
        self._most = most
        self._left = most
        self._at: float | None = None

    def has_left(self, now: float) -> bool:
        """Return whether anything is left at a time (`time.monotonic`)."""
        if self._at is not None:
            self._left = min(self._most, self._left + max(0.0, now - self._at) * self._rate)
        self._at = now
        return self._left > 0

    def spend(self, cost: float) -> None:
        """Take off what was done."""
        self._left -= cost
