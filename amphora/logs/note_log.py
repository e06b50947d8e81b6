"""`NoteLogger`: a logger for code that must neither wait nor call foreign code, such as the owner of a connection.

A handler of `logging` may do anything: send the record over a network, wait for a lock, call through the very client
that logs. Called by the greenlet that owns a connection, or by a callback of the event loop, it would stop all other
work, or raise where nothing may be raised (gevent's ``BlockingSwitchOutError``). So a record is only queued here. It is
emitted a moment later, with the time, the place and the context of the call:

- in a program that gevent has patched, by a greenlet of the same hub, which is started when there is something to emit;
- in any other program by a thread, so that a handler that blocks does not stop the hub.

What is left when the process ends is emitted then.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import time
import traceback
from collections import OrderedDict, deque
from collections.abc import Hashable, Mapping
from contextvars import Context, copy_context
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary, ref

import gevent
from gevent import monkey
from gevent.event import Event

from amphora.interrupts import from_signal, raise_in_main
from amphora.logs.log_text import printable_argument, printable_extra, printable_traceback

__all__ = ["NoteLogger", "flush_notes"]

#: Records that may wait to be emitted; what comes beyond that is counted and left out.
_MOST = 1000

#: Seconds for which a text that was logged with ``once`` is not logged again.
_ONCE_IN = 60.0

#: Keys of ``once`` that are remembered by each logger.
_MOST_KEYS = 1000

#: Seconds that the end of the process waits for records that a thread has still to emit.
_AT_EXIT = 2.0

_ExcInfo = bool | BaseException | tuple[Any, Any, Any] | None


class _Note(NamedTuple):
    logger: logging.Logger
    level: int
    text: str
    args: tuple[object, ...]
    exc_info: Any
    extra: Mapping[str, object] | None
    place: tuple[str, int, str, str | None]
    thread: tuple[int, str]
    created: float
    context: Context


class NoteLogger:
    """Logs like a `logging.Logger`, but never waits and never calls a handler itself.

    Args:
        name: Name of the logger.
    """

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)
        # When each was logged last, and how often it was left out since.
        self._told: OrderedDict[Hashable, tuple[float, int]] = OrderedDict()

    @property
    def name(self) -> str:
        """Name of the logger."""
        return self._logger.name

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802  (the name that `logging` gives it)
        """Return whether records of this level are logged; takes no lock, unlike the original."""
        logger = self._logger
        return not logger.disabled and level > logger.manager.disable and level >= logger.getEffectiveLevel()

    def debug(self, text: str, *args: object, extra: Mapping[str, object] | None = None) -> None:
        """Log a record at DEBUG."""
        self._post(logging.DEBUG, text, args, None, extra, None)

    def info(
        self, text: str, *args: object, extra: Mapping[str, object] | None = None, once: Hashable | None = None
    ) -> None:
        """Log a record at INFO; see `log` for the arguments."""
        self._post(logging.INFO, text, args, None, extra, once)

    def warning(
        self,
        text: str,
        *args: object,
        exc_info: _ExcInfo = None,
        extra: Mapping[str, object] | None = None,
        once: Hashable | None = None,
    ) -> None:
        """Log a record at WARNING; see `log` for the arguments."""
        self._post(logging.WARNING, text, args, exc_info, extra, once)

    def error(
        self,
        text: str,
        *args: object,
        exc_info: _ExcInfo = None,
        extra: Mapping[str, object] | None = None,
        once: Hashable | None = None,
    ) -> None:
        """Log a record at ERROR; see `log` for the arguments."""
        self._post(logging.ERROR, text, args, exc_info, extra, once)

    def exception(
        self, text: str, *args: object, extra: Mapping[str, object] | None = None, once: Hashable | None = None
    ) -> None:
        """Log a record at ERROR with the exception that is being handled."""
        self._post(logging.ERROR, text, args, True, extra, once)

    def log(
        self,
        level: int,
        text: str,
        *args: object,
        exc_info: _ExcInfo = None,
        extra: Mapping[str, object] | None = None,
        once: Hashable | None = None,
    ) -> None:
        """Log a record.

        Args:
            level: Its level.
            text: Its text, a format for ``%``.
            args: What is put into the text, when the record is emitted, without control characters.
            exc_info: True for the exception that is being handled, or an exception.
            extra: Further attributes of the record.
            once: With the same key, log at most one record a minute; the next one tells how many were left out.
        """
        self._post(level, text, args, exc_info, extra, once)

    def _post(
        self,
        level: int,
        text: str,
        args: tuple[object, ...],
        exc_info: _ExcInfo,
        extra: Mapping[str, object] | None,
        once: Hashable | None,
    ) -> None:
        if not self.isEnabledFor(level):
            return
        if once is not None:
            left_out = self._left_out(once)
            if left_out is None:
                return
            if left_out:
                text, args = f"{text} (and %d more of these since the last one)", (*args, left_out)
        if exc_info is True:
            exc_info = sys.exc_info()
        elif isinstance(exc_info, BaseException):
            exc_info = (type(exc_info), exc_info, exc_info.__traceback__)
        logger = self._logger
        current = threading.current_thread()
        note = _Note(
            logger,
            level,
            text,
            args,
            exc_info or None,
            extra,
            # The caller of `warning` or the like.
            logger.findCaller(stacklevel=3),
            (current.ident or 0, current.name),
            time.time(),
            copy_context(),
        )
        _emitter().post(note)

    def _left_out(self, key: Hashable) -> int | None:
        """Return how many records with this key were left out since the last one; None to leave out this one too."""
        now = time.monotonic()
        told_at, left_out = self._told.get(key, (-_ONCE_IN, 0))
        if now - told_at < _ONCE_IN:
            self._told[key] = (told_at, left_out + 1)
            return None
        self._told[key] = (now, 0)
        self._told.move_to_end(key)
        if len(self._told) > _MOST_KEYS:
            self._told.popitem(last=False)
        return left_out


def flush_notes(timeout: float | None = None) -> bool:
    """Wait until every record that was logged in this thread's hub before the call is emitted.

    In a program that gevent has not patched: every record that was logged in this process.

    Args:
        timeout: Seconds to wait; None for no limit.

    Returns:
        Whether they are.
    """
    return _emitter().flush(timeout)


# -- emitting -------------------------------------------------------------------------------------


def _emit(note: _Note) -> None:
    """Hand one record to the handlers, in the context of the call that logged it."""
    try:
        note.context.run(_handle, note)
    except Exception as error:  # noqa: BLE001  (filters, factories and handlers are foreign; the next record has others)
        interrupt = from_signal(error)
        if interrupt is not None:
            raise_in_main(interrupt)
        elif logging.raiseExceptions and sys.stderr:
            traceback.print_exc(file=sys.stderr)


def _handle(note: _Note) -> None:
    path, line, function, stack = note.place
    record = note.logger.makeRecord(
        note.logger.name,
        note.level,
        path,
        line,
        note.text,
        # Much of what is logged another program has written.
        tuple(printable_argument(each) for each in note.args),
        note.exc_info,
        function,
        printable_extra(note.extra),
        stack,
    )
    # What is here already, formatters do not format again.
    record.exc_text = printable_traceback(note.exc_info)
    record.relativeCreated += (note.created - record.created) * 1000
    record.created, record.msecs = note.created, int(note.created % 1 * 1000)
    record.thread, record.threadName = note.thread
    note.logger.handle(record)


def _left_out_note(count: int) -> _Note:
    logger = logging.getLogger(__name__)
    text = "%d log records were left out: the handlers of the log are slower than what is logged"
    current = threading.current_thread()
    place = (__file__, 0, "_left_out_note", None)
    thread = (current.ident or 0, current.name)
    return _Note(logger, logging.WARNING, text, (count,), None, None, place, thread, time.time(), Context())


class _GreenletEmitter:
    """Emits the records of one hub in a greenlet, which ends when there are none left."""

    def __init__(self, hub: Any) -> None:
        # Weak, as it is the key under which this is kept.
        self._hub = ref(hub)
        self._waiting: deque[_Note] = deque()
        self._left_out = 0
        self._greenlet: gevent.Greenlet[[], None] | None = None
        self._idle = Event()
        self._idle.set()

    def post(self, note: _Note) -> None:
        """Queue a record; from any greenlet of the hub, and from the hub itself."""
        if len(self._waiting) >= _MOST:
            self._left_out += 1
            return
        self._waiting.append(note)
        self._begin()

    def flush(self, timeout: float | None) -> bool:
        """See `flush_notes`."""
        if self._greenlet is gevent.getcurrent():
            # A handler that waited for itself.
            return False
        return self._idle.wait(timeout)

    def emit_now(self) -> None:
        """Have what waits emitted, as the process ends."""
        if self._hub() is not gevent.get_hub() or not self.flush(_AT_EXIT):
            # Its hub does not run any more, or its greenlet hangs in a handler: the others may be well.
            self._emit_waiting()

    def discard(self) -> None:
        """Leave what waits to the parent of a forked process, and what its greenlet waits for in a handler, too.

        A pool of threads, for one, is not inherited: that greenlet may never go on here.
        """
        self._waiting.clear()
        self._left_out = 0
        self._greenlet = None
        self._idle.set()

    def _begin(self) -> None:
        # (One that was killed before it had begun is dead without having noted that.)
        if self._greenlet is None or self._greenlet.dead:
            self._idle.clear()
            self._greenlet = gevent.spawn(self._emit_all)
            self._greenlet.name = "amphora log"

    def _emit_all(self) -> None:
        own = gevent.getcurrent()
        try:
            # (After a fork there may be another one, which emits what is waiting.)
            while self._greenlet is own and (self._waiting or self._left_out):
                _emit(self._next())
        finally:
            # Also where the greenlet was killed: the next record starts another one.
            if self._greenlet is own:
                self._greenlet = None
                if self._waiting:
                    self._begin()
                else:
                    self._idle.set()

    def _emit_waiting(self) -> None:
        while self._waiting or self._left_out:
            _emit(self._next())

    def _next(self) -> _Note:
        if self._waiting:
            return self._waiting.popleft()
        count, self._left_out = self._left_out, 0
        return _left_out_note(count)


class _ThreadEmitter:
    """Emits all records of the process in a thread of its own."""

    def __init__(self) -> None:
        self._waiting: SimpleQueue[_Note | threading.Event] = SimpleQueue()
        self._left_out = 0
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def post(self, note: _Note) -> None:
        """Queue a record; from any thread."""
        if self._waiting.qsize() >= _MOST:
            self._left_out += 1
            return
        self._waiting.put(note)
        self._begin()

    def flush(self, timeout: float | None) -> bool:
        """See `flush_notes`."""
        if self._thread is threading.current_thread():
            return False
        emitted = threading.Event()
        self._waiting.put(emitted)
        self._begin()
        return emitted.wait(timeout)

    def emit_now(self) -> None:
        """Have what waits emitted, as the process ends."""
        if self._waiting.qsize() and not self.flush(_AT_EXIT):
            # The thread hangs in a handler: the others may be well.
            while True:
                try:
                    item = self._waiting.get_nowait()
                except Empty:
                    return
                if isinstance(item, _Note):
                    _emit(item)

    def discard(self) -> None:
        """Begin anew in a forked process, which has not inherited the thread."""
        self.__init__()  # type: ignore[misc]

    def _begin(self) -> None:
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._emit_all, name="amphora log", daemon=True)
                    self._thread.start()

    def _emit_all(self) -> None:
        while True:
            item = self._waiting.get()
            if isinstance(item, threading.Event):
                item.set()
                continue
            _emit(item)
            count, self._left_out = self._left_out, 0
            if count:
                _emit(_left_out_note(count))


_of_hubs: WeakKeyDictionary[Any, _GreenletEmitter] = WeakKeyDictionary()
_of_process: _ThreadEmitter | None = None


def _emitter() -> _GreenletEmitter | _ThreadEmitter:
    # One for the process, made when first needed: whether gevent has patched it is known then.
    global _of_process
    if not monkey.is_module_patched("threading"):
        if _of_process is None:
            _of_process = _ThreadEmitter()
        return _of_process
    hub = gevent.get_hub()
    emitter = _of_hubs.get(hub)
    if emitter is None:
        emitter = _of_hubs[hub] = _GreenletEmitter(hub)
    return emitter


def _all() -> list[_GreenletEmitter | _ThreadEmitter]:
    emitters: list[_GreenletEmitter | _ThreadEmitter] = list(_of_hubs.values())
    return emitters if _of_process is None else [*emitters, _of_process]


def _emit_at_exit() -> None:
    for emitter in _all():
        emitter.emit_now()


def _discard_after_fork() -> None:
    for emitter in _all():
        emitter.discard()


atexit.register(_emit_at_exit)
os.register_at_fork(after_in_child=_discard_after_fork)
