"""A message on its way to the broker; see `amphora.core.messages`."""

from __future__ import annotations

from amphora.core.messages import Outgoing

__all__ = ["Outgoing"]
