"""A server's requests, each from its delivery until it is acknowledged."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import partial
from time import monotonic

import gevent
from gevent.event import Event

from amphora.durations import Histogram
from amphora.exceptions import WrongRequest
from amphora.job import Job
from amphora.links.consumer import Consumer
from amphora.links.delivery import Delivery
from amphora.links.publisher import Publisher
from amphora.log_fields import request_fields
from amphora.poison import Attempt, PoisonGuard
from amphora.protocol.deadlines import is_expired
from amphora.protocol.finished import FinishedRequests, Reply
from amphora.protocol.messages import Codec
from amphora.protocol.names import Names
from amphora.protocol.registry import Ignored, Raised, Registry
from amphora.protocol.signatures import Signatures
from amphora.receiver import Receiver
from amphora.replies import Replies
from amphora.request import enter_request
from amphora.run_times import RunTimes
from amphora.workers import WorkerPool

__all__ = ["RequestHandler"]

logger = logging.getLogger(__name__)

#: Ignored requests that are recognised when they come back, at the most.
_IGNORED = 1000

#: See `AmqpRpcServer.stats`.
_COUNTED = (
    "requests",
    "errors",
    "wrong_requests",
    "ignored",
    "duplicates",
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
        concurrency: How many requests run at the same time.
        ignore_delay: Seconds to wait before a request is given back that was ignored before.
        drop_ignored: Acknowledge ignored requests instead of giving them back.
        send_tracebacks: Whether a remote exception carries its traceback.
        poison: Counts the tries of requests that come again; None where nobody does.
        signatures: Checks requests and signs replies; None where nobody signs.

    Attributes:
        accepting: Whether new requests are taken; otherwise they are given back.
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
        concurrency: int,
        ignore_delay: float,
        drop_ignored: bool,
        send_tracebacks: bool,
        poison: PoisonGuard | None,
        signatures: Signatures | None,
    ) -> None:
        self.accepting = True
        self._name = name
        self._queue = queue
        self._names = names
        self._codec = codec
        self._registry = registry
        self._consumer = consumer
        consumer.on_suspect = self.set_aside
        self._finished = finished
        self._ignore_delay = ignore_delay
        self._drop_ignored = drop_ignored
        self._poison = poison
        self._signatures = signatures
        self._replies = Replies(
            name,
            names=names,
            codec=codec,
            publisher=publisher,
            send_tracebacks=send_tracebacks,
            signatures=signatures,
            finish=self._finish,
        )
        run = self._run if poison is None else partial(self._run_guarded, poison)
        self._pool: WorkerPool[Job] = WorkerPool(concurrency, run)
        self._running: dict[Hashable, Job] = {}
        self._unnamed: set[Job] = set()
        self._ignored: OrderedDict[Hashable, None] = OrderedDict()
        self._one_less = Event()
        self._counts = dict.fromkeys(_COUNTED, 0)
        self._run_times = RunTimes(registry.__contains__)

    def stats(self) -> dict[str, int]:
        """Return the counts that `AmqpRpcServer.stats` documents."""
        running = len(self._running) + len(self._unnamed) - self._pool.waiting
        return {**self._counts, "undeliverable": self._replies.undeliverable, "running": running}

    def run_times(self) -> dict[str, Histogram]:
        """Return what `AmqpRpcServer.run_times` documents."""
        return self._run_times.so_far()

    def give_back_waiting(self) -> None:
        """Give the requests that have not begun back to their queues; those that run are the last for now."""
        for job in self._pool.take_back():
            self._give_back(job, again=True)
        self._pool.dismiss()

    def wait_idle(self, timeout: float | None) -> bool:
        """Wait until every request is finished, that of the calling greenlet excepted.

        Args:
            timeout: Seconds to wait at the most; None for no limit.

        Returns:
            Whether every request is.
        """
        own = gevent.getcurrent()
        deadline = None if timeout is None else monotonic() + timeout
        while any(job.greenlet is not own for job in (*self._running.values(), *self._unnamed)):
            self._one_less.clear()
            remaining = None if deadline is None else deadline - monotonic()
            if remaining is not None and remaining <= 0:
                return False
            self._one_less.wait(remaining)
        return True

    def deliver(self, delivery: Delivery, receiver: Receiver | None = None) -> None:
        """Take a delivery; runs in the greenlet that owns the connection, so it must not block."""
        job = Job(delivery, receiver)
        signatures = self._signatures
        # Before anything is done with its id: a forged request must not pass for another one.
        if signatures is not None and not self._trusts(job, signatures.check_request, delivery.body):
            return
        if job.message_id is not None:
            running = self._running.get(job.key)
            if running is not None:
                self._counts["duplicates"] += 1
                running.deliveries.append(delivery)
                return
            known, reply = self._finished.recall(job.key)
            if known:
                self._counts["duplicates"] += 1
                logger.debug(
                    "%s: request %r was finished before",
                    self._name,
                    job.message_id,
                    extra=request_fields(job.message_id, job.function),
                )
                self._reply_again(job, reply)
                return
        # What comes again because its connection broke, and was begun in time, is not too old.
        if signatures is not None and not self._trusts(job, signatures.check_age):
            return
        if not self.accepting or (receiver is not None and not receiver.take()):
            self._consumer.reject(delivery, requeue=True)
            return
        if job.message_id is not None:
            self._running[job.key] = job
        else:
            self._unnamed.add(job)
        self._pool.submit(job)

    def set_aside(self, delivery: Delivery) -> None:
        """Dead-letter or drop a request that has broken several connections; nothing of it but the body was read."""
        self._counts["dropped"] += 1
        if self._poison is None:
            self._consumer.reject(delivery, requeue=False)
            return
        job = Job(delivery, None)
        self._unnamed.add(job)
        self._poison.bury(job, self._queue, then=partial(self._finish, job))

    def _trusts(self, job: Job, check: Callable[..., None], *rest: bytes) -> bool:
        """Tell whether a request stands a check of its signature; refuse it otherwise."""
        delivery = job.deliveries[0]
        try:
            check(delivery.properties, *rest)
        except WrongRequest as error:
            if self.accepting:
                self._distrust(job, error)
            else:
                self._consumer.reject(delivery, requeue=True)
            return False
        return True

    def _distrust(self, job: Job, error: WrongRequest) -> None:
        """Answer a request that anybody may have sent; it leaves no trace in what is known of others."""
        self._counts["untrusted"] += 1
        logger.warning(
            "%s: request %r: %s", self._name, job.message_id, error, extra=request_fields(job.message_id, job.function)
        )
        job.receiver = None
        job.apart = True
        self._unnamed.add(job)
        self._replies.send_error(job, error)

    def _reply_again(self, job: Job, reply: Reply | None) -> None:
        job.receiver = None
        self._running[job.key] = job
        if reply is None:
            self._finish(job)
        else:
            self._replies.send(job, reply)

    def _run_guarded(self, poison: PoisonGuard, job: Job) -> None:
        """Run a request, unless it was tried too often; in a greenlet of the pool."""
        delivery = job.deliveries[0]
        if not delivery.redelivered or is_expired(delivery.properties):
            self._run(job)
            return
        with poison.attempt(job, partial(self._wants, job)) as attempt:
            if attempt is Attempt.RUN:
                self._run(job)
            elif attempt is Attempt.GIVE_BACK:
                self._give_back(job, again=True)
            else:
                self._bury(poison, job)

    def _bury(self, poison: PoisonGuard, job: Job) -> None:
        """Dead-letter a request that was tried too often, then tell its caller."""
        self._counts["dead_lettered"] += 1
        self._set_aside(job)
        poison.condemn(job, self._queue_of(job), then=partial(self._replies.send_error, job))

    def _set_aside(self, job: Job) -> None:
        """Take what is given back from the dead letters, perhaps at once, for a request of its own."""
        if job.message_id is not None:
            del self._running[job.key]
            self._unnamed.add(job)

    def _wants(self, job: Job) -> bool:
        return self.accepting and self._consumer.is_current(job.deliveries[-1])

    def _queue_of(self, job: Job) -> str:
        return self._queue if job.receiver is None else self._names.label_queue(job.receiver.queue)

    def _run(self, job: Job) -> None:
        """Run a request; in a greenlet of the pool."""
        # The latest is the one of the present connection, if any is.
        if not self._consumer.is_current(job.deliveries[-1]):
            # The connection it came on is gone: it is delivered again, here or elsewhere.
            self._forget(job, again=True)
            return
        job.greenlet = gevent.getcurrent()
        delivery = job.deliveries[0]
        if "headers" in delivery.properties and is_expired(delivery.properties):
            self._expire(job)
            return
        self._counts["requests"] += 1
        try:
            request = self._codec.read_request(delivery.properties, delivery.body)
        except WrongRequest as error:
            self._refuse(job, error)
            return
        job.function = request.function
        enter_request(delivery, request.function)
        began = monotonic()
        try:
            outcome = self._registry.execute(request)
        except BaseException:
            # The program is being ended: another server shall have the request.
            self._give_back(job, again=True)
            raise
        self._run_times.add(request.function, monotonic() - began)
        if isinstance(outcome, Ignored):
            self._ignore(job)
        elif isinstance(outcome, Raised):
            unknown = isinstance(outcome.error, WrongRequest)
            self._counts["wrong_requests" if unknown else "errors"] += 1
            self._replies.send_error(job, outcome.error)
        else:
            self._replies.send_result(job, outcome.value)

    def _expire(self, job: Job) -> None:
        """Drop a request that nobody waits for any more; a receiver may take another one instead."""
        self._counts["expired"] += 1
        logger.debug(
            "%s: request %r has expired", self._name, job.message_id, extra=request_fields(job.message_id, job.function)
        )
        self._acknowledge(job)
        self._forget(job, again=True)

    def _refuse(self, job: Job, error: WrongRequest) -> None:
        """Answer a request that cannot be read, if it says where to."""
        self._counts["wrong_requests"] += 1
        if job.reply_to is not None:
            self._replies.send_error(job, error)
            return
        self._counts["dropped"] += 1
        # The error quotes the body, which may hold what no log should.
        logger.warning(
            "%s: dropped a request that cannot be read and has no reply_to (more at DEBUG)",
            self._name,
            extra=request_fields(job.message_id, job.function),
        )
        logger.debug("%s: dropped: %s", self._name, error, extra=request_fields(job.message_id, job.function))
        if self._poison is not None:
            self._set_aside(job)
            self._poison.bury(job, self._queue_of(job), then=partial(self._finish, job))
            return
        for delivery in job.deliveries:
            self._consumer.reject(delivery, requeue=False)
        self._forget(job)

    def _finish(self, job: Job) -> None:
        """Acknowledge a request that is done with."""
        # A dead letter that is given back shall run again; what is not trusted is nobody's request.
        if job.message_id is not None and not job.apart:
            self._finished.remember(job.key, job.reply)
        self._acknowledge(job)
        self._forget(job)

    def _acknowledge(self, job: Job) -> None:
        for delivery in job.deliveries:
            self._consumer.ack(delivery)
        if self._poison is not None and job.settled is not None:
            self._poison.forget(job)

    def _ignore(self, job: Job) -> None:
        """A function has ignored the request: somebody else shall have it."""
        self._counts["ignored"] += 1
        if self._drop_ignored:
            self._finish(job)
            return
        first = job.message_id is not None and job.key not in self._ignored
        if first:
            self._ignored[job.key] = None
            if len(self._ignored) > _IGNORED:
                self._ignored.popitem(last=False)
            self._give_back(job)
        else:
            # It has come back to us: do not play ball with the broker.
            if job.settled is not None:
                job.settled.set()
            gevent.spawn_later(self._ignore_delay, self._give_back, job)

    def _give_back(self, job: Job, *, again: bool = False) -> None:
        """Give a request back to its queue."""
        self._forget(job, again=again)
        for delivery in job.deliveries:
            self._consumer.reject(delivery, requeue=True)

    def _forget(self, job: Job, *, again: bool = False) -> None:
        """A request is not ours any more."""
        if not job.apart:
            self._running.pop(job.key, None)
        self._unnamed.discard(job)
        self._one_less.set()
        if job.settled is not None:
            job.settled.set()
        if job.receiver is not None:
            if again:
                job.receiver.lose_one()
            else:
                job.receiver.finish_one()
