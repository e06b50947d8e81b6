"""A server's requests: read, run and replied to, as `amphora.core.requests` decides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from time import monotonic
from typing import Any

import gevent
from gevent.event import Event

from amphora.core.finished import FinishedRequests, Reply
from amphora.core.requests import Exit, Options, ServedRequests, State
from amphora.driver.incoming_message import IncomingMessage
from amphora.durations import Histogram
from amphora.endpoint.current_request import running_request
from amphora.endpoint.log_fields import request_fields
from amphora.exceptions import Forbidden, WrongRequest
from amphora.interrupts import contained, from_signal, let_through
from amphora.links.consumer import Consumer
from amphora.links.publisher import Publisher
from amphora.logs.note_log import NoteLogger
from amphora.protocol.deadlines import is_expired
from amphora.protocol.messages import Codec
from amphora.protocol.names import Names
from amphora.protocol.signatures import Signatures
from amphora.server.delivery_limit import DeliveryLimit
from amphora.server.receiver import Receiver
from amphora.server.registry import Ignored, Raised, Registry, Returned
from amphora.server.replies import Replies
from amphora.server.run_times import RunTimes
from amphora.server.served_request import ServedRequest
from amphora.server.worker_pool import Pool

__all__ = ["RequestHandler"]

logger = NoteLogger(__name__)

#: Seconds after which requests look at the time again when that has failed.
_AFTER_AN_ERROR = 1.0

#: What casts end with; it is not sent.
_NO_REPLY = Reply("", b"")

#: See `AmqpRpcServer.stats`.
_COUNTED = (
    "requests",
    "errors",
    "wrong_requests",
    "ignored",
    "dead_lettered",
    "dropped",
    "expired",
    "untrusted",
)


class RequestHandler:
    """Runs requests, replies to them, and acknowledges them after that.

    Args:
        name: What operators see in the log.
        queue: Name of the server's own queue.
        names: The service's AMQP names.
        codec: Reads requests and encodes replies.
        registry: The functions.
        publisher: Takes the replies.
        consumer: Brings the requests, and takes their acknowledgements.
        finished: Memory of the finished requests.
        pool: Runs the functions.
        concurrency: How many requests run at the same time.
        ignore_delay: Seconds to wait before a request is given back that was ignored before.
        drop_ignored: Acknowledge ignored requests instead of giving them back.
        send_tracebacks: Whether a remote exception carries its traceback.
        poison: Counts the tries of requests that come again; None where they are not counted.
        signatures: Checks requests and signs replies; None where nothing is signed.
    """

    def __init__(
        self,
        name: str,
        *,
        queue: str,
        names: Names,
        codec: Codec,
        registry: Registry,
        publisher: Publisher,
        consumer: Consumer,
        finished: FinishedRequests,
        pool: Pool[ServedRequest],
        concurrency: int,
        ignore_delay: float,
        drop_ignored: bool,
        send_tracebacks: bool,
        poison: DeliveryLimit | None,
        signatures: Signatures | None,
    ) -> None:
        self._name = name
        self._queue = queue
        self._names = names
        self._codec = codec
        self._registry = registry
        consumer.on_suspect = self.set_aside
        self._poison = poison
        self._signatures = signatures
        self._counts = dict.fromkeys(_COUNTED, 0)
        self._run_times = RunTimes(registry.__contains__)
        self._one_less = Event()
        self._waiters = 0
        self._alarm: Any = None
        self._pool = pool
        pool.attach(self._work)
        ports = _Ports(self, self._pool, consumer)
        options = Options(
            slots=concurrency, ignore_delay=ignore_delay, drop_ignored=drop_ignored, letters=poison is not None
        )
        self._served: ServedRequests[ServedRequest] = ServedRequests(options, ports, finished)
        # How an ordinary request leaves is of interest only while something waits for it.
        self._served.tells_each = False
        if poison is not None:
            poison.attach(self._served)
        self._replies = Replies(
            name,
            names=names,
            codec=codec,
            publisher=publisher,
            send_tracebacks=send_tracebacks,
            signatures=signatures,
            served=self._served,
        )
        ports.send = self._replies.send
        ports.restore_route = self._replies.restore_route
        ports.abandoned = self._replies.abandoned

    @property
    def accepting(self) -> bool:
        """Whether new requests are taken; otherwise they are given back."""
        return self._served.accepting

    @accepting.setter
    def accepting(self, value: bool) -> None:
        self._served.accepting = value

    def stats(self) -> dict[str, int]:
        """Return the counts that `AmqpRpcServer.stats` documents."""
        served = self._served
        return {
            **self._counts,
            "duplicates": served.duplicates,
            "undeliverable": self._replies.undeliverable,
            "running": len(served.records) - served.waiting,
        }

    def run_times(self) -> dict[str, Histogram]:
        """Return what `AmqpRpcServer.run_times` documents."""
        return self._run_times.so_far()

    def find(self, client: str | None, message_id: str) -> list[ServedRequest]:
        """Return the requests with this id that a client has sent and that have not left.

        Mostly one or none: only a foreign client uses an id again. Without those that are not trusted. All that the
        server has are looked through, so that no request pays for an index.
        """
        return [
            job
            for job in self._served.records
            if job.message_id == message_id and job.client == client and not job.untrusted
        ]

    def give_back_waiting(self) -> None:
        """Give the requests that have not begun back to their queues; those that run are the last for now."""
        self._served.give_back_waiting(monotonic())
        self._pool.take_back()
        self._pool.dismiss()

    def wait_idle(self, timeout: float | None) -> bool:
        """Wait until every request is finished, that of the calling greenlet excepted.

        Args:
            timeout: Seconds to wait at most; None for no limit.

        Returns:
            Whether every request is.
        """
        own = gevent.getcurrent()
        deadline = None if timeout is None else monotonic() + timeout
        self._waiters += 1
        self._served.tells_each = True
        try:
            while any(job.greenlet is not own for job in self._served.records):
                self._one_less.clear()
                remaining = None if deadline is None else deadline - monotonic()
                if remaining is not None and remaining <= 0:
                    return False
                self._one_less.wait(remaining)
        finally:
            self._waiters -= 1
            self._served.tells_each = self._waiters > 0
        return True

    def deliver(self, delivery: IncomingMessage, receiver: Receiver | None = None) -> None:
        """Take a delivery; runs in the greenlet that owns the connection, so it must not block."""
        job = ServedRequest(delivery, receiver)
        served, signatures, now = self._served, self._signatures, monotonic()
        # Before anything is done with its id: a forged request must not pass for another one.
        if signatures is not None:
            check = partial(self._check_signature, signatures, job)
            if not self._trusts(job, check, delivery.body):
                return
        poison = self._poison
        if poison is not None and delivery.redelivered:
            # If it is finished here without another try, the count that another server may have begun goes with it.
            job.counter = poison.counter(delivery)
        if served.recall(job, now):
            logger.debug(
                "%s: request %r is running, or was finished before",
                self._name,
                job.message_id,
                extra=request_fields(job.message_id, job.function),
            )
            # Only what acknowledges it is kept.
            delivery.body = b""
            if job.state is State.SETTLED:
                delivery.properties = {}
            return
        # What comes again because its connection broke, and was begun in time, is not too old.
        if signatures is not None and not self._trusts(job, signatures.check_age):
            return
        served.take(job, now)

    def set_aside(self, delivery: IncomingMessage) -> None:
        """Dead-letter or drop a request that has broken several connections; nothing of it but the body was read."""
        self._counts["dropped"] += 1
        job = ServedRequest(delivery, None)
        job.problem = WrongRequest("it has broken several connections")
        # Its signature was not read either: the dead letter must not get the mark of a server.
        job.untrusted = True
        self._served.set_aside(job, monotonic())

    def _trusts(self, job: ServedRequest, check: Callable[..., object], *rest: bytes) -> bool:
        """Return whether a request stands a check of its signature; refuse it otherwise."""
        try:
            check(job.delivery.properties, *rest)
        except WrongRequest as error:
            self._distrust(job, error)
            return False
        return True

    def _check_signature(
        self, signatures: Signatures, job: ServedRequest, properties: Mapping[str, Any], body: bytes
    ) -> None:
        job.version = signatures.check_request(properties, body, routing_key=job.delivery.routing_key)

    def _distrust(self, job: ServedRequest, error: WrongRequest) -> None:
        """Answer a request that anybody may have sent; it leaves no trace in what is known of others."""
        if not self.accepting:
            job.apart = True
            self._served.take(job, monotonic())
            return
        self._counts["untrusted"] += 1
        logger.warning(
            "%s: request %r: %s", self._name, job.message_id, error, extra=request_fields(job.message_id, job.function)
        )
        job.untrusted = True
        self._served.refuse(job, self._replies.encode_error(job, error), monotonic())

    # -- in a greenlet of the pool ----------------------------------------------------------

    def _work(self, job: ServedRequest) -> None:
        served, delivery = self._served, job.delivery
        try:
            if not served.begin(job, monotonic()):
                return
            self._counts["requests"] += 1
            properties = delivery.properties
            try:
                request = self._codec.read_request(properties, delivery.body)
            except WrongRequest as error:
                self._refuse(job, error)
                return
            if job.client is not None:
                # (A cast may become a dead letter.)
                delivery.body = b""
            function = job.function = request.function
            job.greenlet = gevent.getcurrent()
            running_request.set((delivery, function))
            began = monotonic()
            try:
                outcome = self._registry.execute(request, properties.get("user_id") or None)
            except KeyboardInterrupt as error:
                if from_signal(error) is not None:
                    # The program is being ended: another server gets the request.
                    raise
                outcome = Raised(error)
            # What holds a greenlet after its request keeps it from having another one.
            job.greenlet = None
            now = monotonic()
            self._run_times[function].add(now - began)
            if isinstance(outcome, Returned):
                cast = job.client is None
                served.finished(job, _NO_REPLY if cast else self._replies.encode_result(job, outcome.value), now)
            else:
                self._end_without_result(job, outcome, now)
        except BaseException:
            # It does not stay here without a worker.
            served.ended(job, monotonic())
            raise

    def _end_without_result(self, job: ServedRequest, outcome: Raised | Ignored, now: float) -> None:
        if isinstance(outcome, Ignored):
            self._counts["ignored"] += 1
            self._served.ignored(job, now)
            return
        if isinstance(outcome.error, Forbidden) and outcome.refused:
            logger.warning(
                "%s: request %r is refused: %s",
                self._name,
                job.message_id,
                outcome.error,
                extra=request_fields(job.message_id, job.function),
                once=("forbidden", self._name, job.function),
            )
        self._counts["wrong_requests" if outcome.refused else "errors"] += 1
        if job.client is None:
            self._end_cast(job, outcome, now)
            return
        reply = self._replies.encode_error(job, outcome.error, of_function=not outcome.refused)
        self._served.finished(job, reply, now)

    def _end_cast(self, job: ServedRequest, outcome: Raised, now: float) -> None:
        """Log what a request has ended with that has no reply; with a ``delivery_limit``, it is kept."""
        fields = request_fields(job.message_id, job.function)
        if not outcome.refused:
            logger.error(
                "%s: cast %r of %r raised",
                self._name,
                job.message_id,
                job.function,
                exc_info=outcome.error,
                extra=fields,
            )
            self._served.failed(job, _NO_REPLY, now)
            return
        # A WARNING, as for requests that cannot be read: any program that may send requests can cause it.
        logger.warning(
            "%s: cast %r is refused: %s",
            self._name,
            job.message_id,
            outcome.error,
            extra=fields,
            once=("cast is refused", self._name),
        )
        if isinstance(outcome.error, WrongRequest):
            self._counts["dropped"] += 1
            job.problem = outcome.error
            self._served.unreadable(job, _NO_REPLY, now)
        else:
            self._served.failed(job, _NO_REPLY, now)

    def _refuse(self, job: ServedRequest, error: WrongRequest) -> None:
        """Answer a request that cannot be read, if it says where to."""
        self._counts["wrong_requests"] += 1
        job.problem = error
        if job.client is None:
            self._counts["dropped"] += 1
            # The error quotes the body, which may hold what no log should.
            logger.warning(
                "%s: dropped a request that cannot be read and has no reply_to (more at DEBUG)",
                self._name,
                extra=request_fields(job.message_id, job.function),
            )
            logger.debug("%s: dropped: %s", self._name, error, extra=request_fields(job.message_id, job.function))
        self._served.unreadable(job, self._replies.encode_error(job, error), monotonic())

    # -- what the requests ask for ----------------------------------------------------------

    def expired(self, job: ServedRequest) -> bool:
        """Return whether the deadline of a request has passed."""
        return is_expired(job.delivery.properties)

    def bury(self, job: ServedRequest) -> None:
        """Dead-letter a request."""
        if self._poison is None:
            raise ValueError("no dead letters are kept here")
        receiver = job.receiver
        queue = self._names.label_queue(receiver.queue) if isinstance(receiver, Receiver) else self._queue
        if job.problem is None and job.reply is None:
            self._counts["dead_lettered"] += 1
            job.reply = self._replies.encode_error(job, self._poison.condemned(job, queue))
        self._poison.bury(job, queue)

    def left(self, job: ServedRequest, how: Exit) -> None:
        """Take note that a request has left."""
        if how is Exit.EXPIRED:
            self._counts["expired"] += 1
            logger.debug(
                "%s: request %r has expired",
                self._name,
                job.message_id,
                extra=request_fields(job.message_id, job.function),
            )
        if self._poison is not None and job.counter and how.acks and not job.untrusted:
            self._poison.forget(job)
        if not self._one_less.is_set():
            self._one_less.set()

    def alarm(self, at: float) -> None:
        """Have the requests look at the time then."""
        if self._alarm is not None:
            self._alarm.kill(block=False)
        self._alarm = gevent.spawn_later(max(0.0, at - monotonic()), contained, self._tick)

    def _tick(self) -> None:
        self._alarm = None
        try:
            self._served.tick(monotonic())
        except Exception as error:
            let_through(error)
            logger.exception("%s: error while requests looked at the time", self._name)
            # What is due beside it must not wait without end.
            self.alarm(monotonic() + _AFTER_AN_ERROR)


class _Ports:
    """What `ServedRequests` asks of the handler, of its replies, of the pool and of the consumer."""

    send: Callable[[ServedRequest], None]
    restore_route: Callable[[ServedRequest], None]
    abandoned: Callable[[ServedRequest, str], None]

    def __init__(self, handler: RequestHandler, pool: Pool[ServedRequest], consumer: Consumer) -> None:
        self.current = consumer.is_current
        self.ack = consumer.ack
        self.give_back = partial(consumer.reject, requeue=True)
        self.drop = partial(consumer.reject, requeue=False)
        self.start = pool.submit
        self.expired = handler.expired
        self.bury = handler.bury
        self.left = handler.left
        self.alarm = handler.alarm
