"""A forked child lets go of its parent's connections: it shares them, and one byte from it would break them."""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet

__all__ = ["Holder", "let_go_after_fork"]


class Holder(Protocol):
    """What holds a connection, or a part of one."""

    def let_go(self) -> None:
        """Let go of it, in a child right after the fork: nothing is written, nothing else runs."""


_holders: WeakSet[Holder] = WeakSet()


def let_go_after_fork(holder: Holder) -> None:
    """Call the holder's `let_go` in each child that this process forks while the holder lives."""
    _holders.add(holder)


def _let_go() -> None:
    # Whatever the child makes is its own.
    holders = list(_holders)
    _holders.clear()
    for holder in holders:
        holder.let_go()


os.register_at_fork(after_in_child=_let_go)
