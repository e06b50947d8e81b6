"""A bounded memory of keys: the oldest of too many are forgotten."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import TypeVar

__all__ = ["REMEMBERED", "remember"]

#: Keys that are remembered for one reason or another.
REMEMBERED = 1000

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


def remember(memory: OrderedDict[K, V], key: K, value: V) -> None:
    """Remember something as the latest, and forget the oldest of too many."""
    memory[key] = value
    memory.move_to_end(key)
    if len(memory) > REMEMBERED:
        memory.popitem(last=False)
