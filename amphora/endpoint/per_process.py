"""`PerProcess`: an object that each process makes for itself when it first needs it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar
from weakref import WeakSet

__all__ = ["PerProcess"]

Made = TypeVar("Made")


class PerProcess(Generic[Made]):
    """Makes an object when it is first needed, one for each process: a forked child makes its own.

    Any thread or greenlet may use it.

    Args:
        make: Makes the object. What it raises, `get` raises, and the next `get` tries again.
        usable: Returns whether an object can still be used; one that cannot is replaced.
    """

    def __init__(self, make: Callable[[], Made], *, usable: Callable[[Made], bool] | None = None) -> None:
        self._make = make
        self._usable = usable
        self._made: Made | None = None
        # Reentrant: making an object may need what it stands for, and the handler of a signal may.
        self._lock = threading.RLock()
        _all.add(self)

    @property
    def made(self) -> Made | None:
        """The object of this process; None if there is none, or it cannot be used any more."""
        made = self._made
        return made if made is None or self._usable is None or self._usable(made) else None

    def get(self) -> Made:
        """Return the object of this process, and make it if there is none."""
        made = self.made
        if made is None:
            with self._lock:
                made = self.made
                if made is None:
                    made = self._made = self._make()
        return made

    def take(self) -> Made | None:
        """Return the object of this process, if there is one, and forget it: the next `get` makes another."""
        with self._lock:
            made, self._made = self._made, None
        return made

    def forget_parent(self) -> None:
        """Leave the object to the parent, in a child that was just forked."""
        self._made = None
        # A thread or greenlet may hold it that is the parent's.
        self._lock = threading.RLock()


_all: WeakSet[PerProcess[Any]] = WeakSet()


def _forget_parent() -> None:
    for each in list(_all):
        each.forget_parent()


os.register_at_fork(after_in_child=_forget_parent)
