"""What happens when the process exits to requests that the broker has not confirmed.

One rule for every client, in every kind of program: the exit waits for them, up to the client's ``exit_timeout``; those
that are still unconfirmed are lost, and an ERROR record says how many there are and which functions they call. A client
that is stopped sends nothing any more, so its requests are reported without a wait. Ctrl-C, and `sys.exit` in the
handler of a signal, end the wait.

`UnconfirmedRequests` does this for a client whose event loop is the program's own. A client in a thread of its own
(`amphora.threads`) has a `Leaver` of its own, which uses one in that thread.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, Protocol
from weakref import WeakSet, finalize

import gevent
from gevent.event import Event

from amphora.links.publisher import Publisher
from amphora.logs.note_log import NoteLogger

__all__ = ["Leaver", "UnconfirmedRequests", "leave", "leave_at_exit"]

logger = NoteLogger(__name__)

#: Functions that a report names.
_NAMED = 10

#: Priority among the finalizers of `multiprocessing`, which run in descending order: before those of its queues.
_PRIORITY = 100


class Leaver(Protocol):
    """Something that may hold unconfirmed requests when the process exits."""

    def begin_to_leave(self) -> None:
        """Begin to wait for them, in the background."""

    def hurry(self) -> None:
        """End the wait."""

    def join(self) -> None:
        """Wait until they are confirmed or reported."""


class UnconfirmedRequests:
    """The requests of one client that the broker has not confirmed.

    Args:
        name: What operators see in the log.
        publisher: Has the requests. Like the other arguments, it must not refer to the client.
        functions: Returns the names of the functions that they call.
        timeout: Seconds that an exit waits for them.

    Attributes:
        timeout: The same.
    """

    def __init__(
        self, name: str, publisher: Publisher, functions: Callable[[], Sequence[str]], *, timeout: float
    ) -> None:
        self.timeout = timeout
        self._name = name
        self._publisher = publisher
        self._functions = functions
        self._pid = os.getpid()
        self._hurry = Event()
        self._reported = False
        self._leaving: gevent.Greenlet[[], None] | None = None

    def __bool__(self) -> bool:
        return bool(self._functions())

    def watch(self, client: object) -> None:
        """Report them when the client is collected though it is stopped, as they cannot be sent any more."""
        finalize(client, self._on_client_collected).atexit = False

    def wait(self) -> None:
        """Wait until the broker has confirmed them, up to the timeout, also while there is no connection."""
        deadline = monotonic() + self.timeout
        link = self._publisher.link
        while link.running and not self._hurry.is_set() and self:
            remaining = deadline - monotonic()
            if remaining <= 0:
                return
            self._publisher.drain(remaining, self._hurry)

    def report(self, event: str) -> None:
        """Log an ERROR if there are any; does nothing the second time.

        Args:
            event: What has happened, such as ``the process exited``.
        """
        if self._reported or self._pid != os.getpid():
            return
        self._reported = True
        _watched.discard(self)
        if functions := self._functions():
            count = len(functions)
            logger.error(
                "%s: the broker had not confirmed %d request%s when %s; what it did not receive is lost: %s",
                self._name,
                count,
                "s" * (count != 1),
                event,
                _named(functions),
            )

    # -- Leaver -----------------------------------------------------------------------------

    def begin_to_leave(self) -> None:
        """See `Leaver`."""
        self._leaving = gevent.spawn(self.wait)

    def hurry(self) -> None:
        """See `Leaver`."""
        self._hurry.set()

    def join(self) -> None:
        """See `Leaver`."""
        if self._leaving is not None:
            self._leaving.join()
        self.report("the process exited")

    def _on_client_collected(self) -> None:
        # Where it still runs, its connections are closed later, and this is reported then.
        if not self._publisher.link.running and not sys.is_finalizing():
            self.report("the client was dropped")


def _named(functions: Sequence[str]) -> str:
    counts = Counter(functions)
    shown = [f"{name} ({count})" if count > 1 else name for name, count in counts.most_common(_NAMED)]
    more = len(counts) - len(shown)
    return f"{', '.join(shown)}{f' and {more} other functions' if more else ''}"


#: Those of the clients that live in the program's own event loop.
_watched: set[UnconfirmedRequests] = set()
#: All others.
_leavers: WeakSet[Any] = WeakSet()
#: The process whose finalizers have `leave` among them: a child of `multiprocessing` calls no `atexit` functions.
_finalized_pid = 0


def leave_at_exit(leaver: Leaver) -> None:
    """Have an exit of this process, and of no child, wait for a leaver."""
    if isinstance(leaver, UnconfirmedRequests):
        _watched.add(leaver)
    else:
        _leavers.add(leaver)
    _leave_with_multiprocessing()


def leave() -> None:
    """Wait for unconfirmed requests, and report those that are left; called at exit.

    A second call has only those that came meanwhile to wait for.
    """
    leavers: list[Leaver] = [*(each for each in _watched if each), *_leavers]
    _leavers.clear()
    if not leavers:
        return
    hub = gevent.get_hub()
    # A Ctrl-C ends the wait, and is nothing to print a traceback of.
    not_errors, hub.NOT_ERROR = hub.NOT_ERROR, (*hub.NOT_ERROR, KeyboardInterrupt)
    try:
        for leaver in leavers:
            leaver.begin_to_leave()
        # Those of the own event loop come first: it stands still while a thread is joined.
        for leaver in leavers:
            leaver.join()
    except (KeyboardInterrupt, SystemExit):
        for leaver in leavers:
            leaver.hurry()
        for leaver in leavers:
            leaver.join()
    finally:
        hub.NOT_ERROR = not_errors


def _leave_with_multiprocessing() -> None:
    global _finalized_pid
    util = sys.modules.get("multiprocessing.util")
    process = sys.modules.get("multiprocessing.process")
    if util is None or process is None or process.parent_process() is None or _finalized_pid == os.getpid():
        return
    _finalized_pid = os.getpid()
    util.Finalize(None, leave, exitpriority=_PRIORITY)


def _forget_parent() -> None:
    _watched.clear()
    _leavers.clear()


atexit.register(leave)
os.register_at_fork(after_in_child=_forget_parent)
