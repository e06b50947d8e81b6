"""The gate: requests that may end the server run together, or one of them alone.

A *suspect* is a request that was delivered before. Suspects enter the gate in the order in which they joined its
line. One that makes its last try enters alone, so that it is given up for its own doing only; while it stands first
in the line, later ones wait, so that its turn comes.

========== ============================================ ====================================================
State      Meaning                                      Who enters next
========== ============================================ ====================================================
OPEN       any number inside together                   the first in line, if it is not exclusive
WANTED     some inside; an exclusive one first in line  nothing until the gate is empty
EXCLUSIVE  one inside, alone                            nothing until it leaves
========== ============================================ ====================================================

Requests that come for the first time never pass the gate.
"""

from __future__ import annotations

from collections.abc import Hashable
from enum import Enum
from typing import Generic, TypeVar

__all__ = ["Gate", "State"]

Member = TypeVar("Member", bound=Hashable)


class State(Enum):
    """Who may be inside."""

    OPEN = "open"
    WANTED = "wanted"
    EXCLUSIVE = "exclusive"


class Gate(Generic[Member]):
    """Admits members together or one alone. Members are kept in dicts: the order is that of arrival."""

    __slots__ = ("_inside", "_line")

    def __init__(self) -> None:
        self._line: dict[Member, bool] = {}
        self._inside: dict[Member, bool] = {}

    def __len__(self) -> int:
        return len(self._line) + len(self._inside)

    def __contains__(self, member: Member) -> bool:
        return member in self._inside or member in self._line

    @property
    def state(self) -> State:
        """See above."""
        if any(self._inside.values()):
            return State.EXCLUSIVE
        if self._inside and self._exclusive_is_next():
            return State.WANTED
        return State.OPEN

    def join(self, member: Member, *, exclusive: bool) -> list[Member]:
        """Stand in line; return those that are inside now and were not before."""
        self._line[member] = exclusive
        return self._admit()

    def leave(self, member: Member) -> list[Member]:
        """Leave the gate or its line, if there; return those that are inside now and were not before."""
        if self._inside.pop(member, None) is None and self._line.pop(member, None) is None:
            return []
        return self._admit()

    def check(self) -> None:
        """Assert the invariants."""
        assert not any(self._inside.values()) or len(self._inside) == 1
        assert not self._inside.keys() & self._line.keys()
        # Nothing waits that could enter.
        assert not self._line or self._inside
        if self._line and not self._exclusive_is_next():
            assert any(self._inside.values())

    def _exclusive_is_next(self) -> bool:
        for exclusive in self._line.values():
            return exclusive
        return False

    def _admit(self) -> list[Member]:
        admitted = []
        while self._line:
            member, exclusive = next(iter(self._line.items()))
            if self._inside and (exclusive or any(self._inside.values())):
                break
            del self._line[member]
            self._inside[member] = exclusive
            admitted.append(member)
        return admitted
