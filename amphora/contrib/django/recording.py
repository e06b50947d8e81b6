"""Keeps the last exceptions of a server's functions in the database, without holding up the functions."""

from __future__ import annotations

import logging
import os
import socket
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Any

import gevent
from django.db import ProgrammingError, connections, router
from django.utils import timezone
from gevent import GreenletExit
from gevent.event import Event
from gevent.queue import Empty, Full, Queue

from amphora import CurrentRequest, IgnoreRequest
from amphora.contrib.django.drivers import waits_with_gevent
from amphora.contrib.django.models import NAME_LENGTH, FailedCall

__all__ = ["ErrorRecorder"]

logger = logging.getLogger(__name__)

#: Errors that may wait to be written; more are dropped.
_WAITING = 1000

#: Errors that are written in one go.
_BATCH = 100

#: Longest texts that are kept, in characters: of a message its beginning, of a traceback its end.
_MESSAGE_LENGTH = 10_000
_TRACEBACK_LENGTH = 20_000


class ErrorRecorder:
    """A middleware of a server: notes what its functions raise, and writes it in the background.

    A function waits for nothing: errors are put in a bounded queue, which a greenlet empties into the database; in a
    thread where the driver of the database would stop all greenlets while it waits. What does not fit into the queue,
    or cannot be written, is dropped: counted, and logged for the first time.

    Args:
        alias: Alias of the service in ``AMPHORA``.
        service_name: Namespace of the service.
        server_uuid: Identifier of the server.
        keep: How many of the service's last errors stay in the database.
        waiting: How many may wait to be written.
    """

    def __init__(self, alias: str, service_name: str, server_uuid: str, keep: int, *, waiting: int = _WAITING) -> None:
        self._alias = alias
        self._service_name = service_name
        self._server_uuid = server_uuid
        self._host = socket.gethostname()
        self._keep = keep
        self._queue: Queue[FailedCall] = Queue(maxsize=waiting)
        self._idle = Event()
        self._idle.set()
        self._writer: gevent.Greenlet[..., None] | None = None
        #: Errors that were written since the recorder was made.
        self.recorded = 0
        #: Errors that were not, as too many waited or the database refused.
        self.dropped = 0

    def __call__(self, request: CurrentRequest, call: Callable[[], Any]) -> Any:
        """Run a function; see `amphora.AmqpRpcServer.add_middleware`."""
        try:
            return call()
        except (IgnoreRequest, GreenletExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self._note(request, error)
            raise

    def flush(self, timeout: float) -> bool:
        """Wait until all that was noted is written or dropped.

        Args:
            timeout: Seconds to wait at most.

        Returns:
            Whether it is.
        """
        return bool(self._idle.wait(timeout))

    def _note(self, request: CurrentRequest, error: BaseException) -> None:
        """Put an error in the queue; whatever goes wrong with that is no matter of the function's."""
        try:
            self._queue.put_nowait(self._failed_call(request, error))
        except Full:
            self._drop(1, "more errors than can be written wait already")
            return
        except Exception as problem:  # noqa: BLE001  (an exception's own __str__ may raise anything)
            self._drop(1, f"{type(error).__name__} cannot be described: {type(problem).__name__}")
            return
        self._idle.clear()
        if self._writer is None:
            self._writer = gevent.spawn(self._write_until_empty)

    def _failed_call(self, request: CurrentRequest, error: BaseException) -> FailedCall:
        frames = _frames_of_function(error.__traceback__)
        text = "".join(traceback.format_exception(type(error), error, frames))
        return FailedCall(
            time=timezone.now(),
            alias=_storable(self._alias)[:NAME_LENGTH],
            service=_storable(self._service_name)[:NAME_LENGTH],
            function=_storable(request.function)[:NAME_LENGTH],
            error_type=_storable(type(error).__name__)[:NAME_LENGTH],
            message=_storable(str(error))[:_MESSAGE_LENGTH],
            traceback=_storable(text)[-_TRACEBACK_LENGTH:],
            server_host=_storable(self._host)[:NAME_LENGTH],
            server_pid=os.getpid(),
            server_uuid=_storable(self._server_uuid)[:NAME_LENGTH],
            request_id=_storable(request.id or "")[:NAME_LENGTH],
        )

    def _write_until_empty(self) -> None:
        """Write batch after batch."""
        try:
            while batch := self._next_batch():
                problem = self._write(batch)
                if problem is None:
                    self.recorded += len(batch)
                else:
                    self._drop(len(batch), _explain(problem))
        finally:
            # At once after the queue was found empty: what is noted from now on starts a writer of its own.
            self._writer = None
            self._idle.set()

    def _next_batch(self) -> list[FailedCall]:
        batch: list[FailedCall] = []
        while len(batch) < _BATCH:
            try:
                batch.append(self._queue.get_nowait())
            except Empty:
                break
        return batch

    def _write(self, batch: list[FailedCall]) -> Exception | None:
        """Write errors where other greenlets can run meanwhile, and return what went wrong."""
        try:
            database = router.db_for_write(FailedCall)
            if waits_with_gevent(database):
                return self._write_to(database, batch)
            # (It may be that no thread can be started.)
            written: Exception | None = gevent.get_hub().threadpool.apply(self._write_to, (database, batch))
        except Exception as problem:  # noqa: BLE001  (whatever is wrong with the settings; the server goes on)
            return problem
        return written

    def _write_to(self, database: str, batch: list[FailedCall]) -> Exception | None:
        """Write errors, delete those that are too many, and close the connection.

        Returns:
            What went wrong; in a thread it is not raised, as gevent would print it.
        """
        try:
            calls = FailedCall._default_manager.using(database)
            calls.bulk_create(batch)
            of_service = calls.filter(service=batch[0].service)
            surplus = of_service.order_by("-id").values_list("id", flat=True)[self._keep : self._keep + 1].first()
            if surplus is not None:
                of_service.filter(id__lte=surplus).delete()
        except Exception as problem:  # noqa: BLE001  (drivers have errors of their own)
            return problem
        finally:
            self._close(database)
        return None

    @staticmethod
    def _close(database: str) -> None:
        try:
            connections[database].close()
        except Exception as problem:  # noqa: BLE001  (drivers have errors of their own, and the errors are written)
            logger.warning("database %r: a connection did not close: %s", database, problem)

    def _drop(self, count: int, reason: str) -> None:
        if not self.dropped:
            logger.warning(
                "%s: an error of a function could not be kept for the admin (%s). The calls themselves are not "
                "affected; further such losses are counted and not logged.",
                self._service_name,
                reason,
            )
        self.dropped += count


def _explain(problem: Exception) -> str:
    """Say in one line why the database did not take the errors."""
    text = " ".join(f"{type(problem).__name__}: {problem}".split())
    # The first is PostgreSQL's and MySQL's. SQLite has no error of its own for it, and no code: only a text.
    if isinstance(problem, ProgrammingError) or "no such table" in text:
        return f"{text}; run `manage.py migrate`"
    return text


def _frames_of_function(frames: TracebackType | None) -> TracebackType | None:
    """Leave out how Amphora came to call the function: the first frames, of its own modules."""
    while frames is not None and frames.tb_frame.f_globals.get("__name__", "").startswith("amphora."):
        frames = frames.tb_next
    return frames


def _storable(text: str) -> str:
    """Return a text that every database takes: PostgreSQL has no NUL, and none encodes half a surrogate pair."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
