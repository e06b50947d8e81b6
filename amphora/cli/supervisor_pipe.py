"""The line between a process that `amphora serve` has started and the one that started it.

A pair of sockets: the child writes a byte when it is ready, and reads the end of the file when its parent is gone,
however that came about.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

import gevent

__all__ = ["FD_VARIABLE", "ParentLine"]

#: Name of the environment variable with the number of the child's file descriptor.
FD_VARIABLE = "AMPHORA_SERVE_FD"


class ParentLine:
    """The child's end.

    Args:
        on_parent_gone: Called when the parent has ended.
    """

    def __init__(self, on_parent_gone: Callable[[], object]) -> None:
        self._on_parent_gone = on_parent_gone
        number = os.environ.pop(FD_VARIABLE, None)
        self._socket = None if number is None else socket.socket(fileno=int(number))
        if self._socket is not None:
            # Not for the processes that functions start.
            self._socket.set_inheritable(False)
            gevent.spawn(self._watch, self._socket)

    @property
    def has_parent(self) -> bool:
        """Whether there is one."""
        return self._socket is not None

    def ready(self) -> None:
        """Tell the parent that this process takes requests."""
        if self._socket is not None:
            try:
                self._socket.send(b"r")
            except OSError:
                # It is gone, as `_watch` finds out too.
                return

    def _watch(self, end: socket.socket) -> None:
        try:
            while end.recv(1):
                pass
        except OSError:
            # As good as the end of the file.
            pass
        self._on_parent_gone()
