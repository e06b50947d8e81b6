"""`serve` and `stop*` over a publisher and a consumer: what clients and servers share."""

from __future__ import annotations

import inspect
import sys
import threading
import warnings
from collections.abc import Callable, Iterable
from contextlib import suppress
from copy import copy
from functools import partial
from time import monotonic
from typing import Any, ClassVar, Self
from weakref import WeakMethod, finalize

import gevent
from gevent import monkey
from gevent.event import AsyncResult, Event

from amphora.driver.forks import let_go_after_fork
from amphora.durations import Histogram
from amphora.endpoint.at_exit import UnconfirmedRequests
from amphora.endpoint.health import Health
from amphora.endpoint.loop_lag import LoopLag
from amphora.exceptions import BrokerError, BrokerUnreachable
from amphora.links.connection import BrokerInfo
from amphora.links.consumer import Consumer
from amphora.links.publisher import Publisher, nack_retry_seconds
from amphora.links.queue_types import CLASSIC, QueueTypes
from amphora.links.topology import QueueStatus, Topology, queue_status
from amphora.options.broker_options import BrokerOptions
from amphora.options.settings import LinkSettings, OutboxLimits

__all__ = ["Endpoint", "allow_unpatched_thread", "check_patched", "in_hub_thread"]

#: Seconds that stopping may take to bring things to a good end while the broker answers.
_FAREWELL = 5.0

#: Seconds between two looks at whether the calls of a dropped client have ended.
_LOOK = 0.1


#: True in threads whose hub is their own affair.
_bridge = threading.local()


def allow_unpatched_thread() -> None:
    """Let clients be made in the calling thread of a program that is not patched.

    The caller makes sure that only greenlets of this thread use them: the links take gevent's own
    modules by name, and need nothing patched.
    """
    _bridge.allowed = True


def in_hub_thread() -> bool:
    """Return whether the calling thread is one for which `allow_unpatched_thread` was called."""
    return getattr(_bridge, "allowed", False)


def check_patched(class_name: str) -> None:
    """Insist on gevent's monkey-patching.

    Raises:
        RuntimeError: Sockets are not patched; the text says what to add and where.
    """
    if not monkey.is_module_patched("socket") and not in_hub_thread():
        raise RuntimeError(
            f"{class_name} needs gevent's monkey-patching. Add\n\n"
            "    from gevent import monkey; monkey.patch_all()\n\n"
            "as the very first line of the program that is started, before any other import "
            "(under gunicorn -k gevent and celery -P gevent it is done for you; "
            "pytest does it with amphora_patch = true in its settings)."
        )


class Endpoint:
    """A publisher and a consumer that are started and stopped together.

    Args:
        service_name: Namespace of the service.
        role: What it is there, such as ``client``; operators see it.
        settings: How to connect.
        limits: How much may wait to be published.
        publishes: What is declared before anything is published.
        consumes: What is declared before anything is consumed.
        acks_on_delivery: Whether a message is acknowledged once it was taken.
        types: Types of the queues.
    """

    #: The options that the arguments of the constructor become.
    _options_type: ClassVar[type[BrokerOptions]] = BrokerOptions

    #: Whether the connections are closed when the program drops the endpoint. Not those of a server, which serves
    #: though nothing refers to it.
    _closes_when_dropped: ClassVar[bool] = False

    def __init__(
        self,
        service_name: str,
        role: str,
        settings: LinkSettings,
        limits: OutboxLimits,
        *,
        publishes: Topology,
        consumes: Topology,
        acks_on_delivery: bool,
        types: QueueTypes | None = None,
    ) -> None:
        name = f"{service_name} {role}"
        self._service_name = service_name
        self._brokers = settings.brokers
        # The greenlets of the links must not keep what is to be closed when it is dropped.
        on_fatal = _weakly(self._on_fatal) if self._closes_when_dropped else self._on_fatal
        types = QueueTypes(CLASSIC) if types is None else types
        self._publisher = Publisher(
            name, settings, limits, publishes, on_fatal=on_fatal, patience=nack_retry_seconds(types.current)
        )
        self._consumer = Consumer(
            name,
            settings,
            consumes,
            ack_on_delivery=acks_on_delivery,
            insists=types.current == CLASSIC,
            on_fatal=on_fatal,
        )
        types.on_found = partial(_adapt, self._publisher, self._consumer if consumes.leads else None)
        self._failure: BrokerError | None = None
        self._ended = Event()
        self._loop_lag = LoopLag()
        self._forked = False
        self._stopping: gevent.Greenlet[[], None] | None = None
        self._finalizer: finalize[..., Any] | None = None
        self._unconfirmed: UnconfirmedRequests | None = None
        # Questions about queues that are not answered yet.
        self._asked: dict[str, AsyncResult[Any]] = {}
        let_go_after_fork(self)

    @classmethod
    def check_arguments(cls, *args: Any, **kwargs: Any) -> None:
        """Check arguments for the constructor without making anything that lasts; nothing connects.

        For programs that only look at a configuration: they need not be monkey-patched. A subclass with a constructor
        of its own is not made either: what it passes on is checked.

        Args:
            *args: As for the constructor.
            **kwargs: As for the constructor.

        Raises:
            TypeError, ValueError: An argument is wrong.
        """
        owner = next(each for each in cls.__mro__ if "_options_type" in vars(each))
        cls._options_type.of(inspect.signature(owner).bind(*args, **kwargs).arguments)

    @property
    def service_name(self) -> str:
        """Namespace of the RPC service."""
        return self._service_name

    @property
    def broker(self) -> str:
        """Address of the broker, or several separated by ``;``, without the password."""
        return ";".join(map(str, self._brokers))

    @property
    def current_broker(self) -> str:
        """Address of the one of them that it is connected to, or was or tries to be, without the password."""
        return str(self._publisher.link.address)

    @property
    def connected(self) -> bool:
        """Whether both connections to the broker are up."""
        return self._publisher.link.connected and self._consumer.link.connected

    @property
    def state(self) -> str:
        """How the connections are, as a phrase for people, such as ``connected to amqp://guest@127.0.0.1:5672//``.

        Where one is down, it says what the trouble is.
        """
        links = (self._consumer.link, self._publisher.link)
        return next((link.state for link in links if not link.connected), links[0].state)

    @property
    def trouble(self) -> BrokerError | None:
        """What keeps it from being connected, as the last attempt has told; None where nothing has failed yet."""
        links = (self._consumer.link, self._publisher.link)
        return next((link.trouble for link in links if not link.connected), None)

    @property
    def broker_info(self) -> BrokerInfo | None:
        """What the broker has told of itself when it was connected to last; None before that."""
        return self._consumer.link.broker_info

    @property
    def blocked(self) -> bool:
        """Whether the broker takes no messages at present (memory or disk alarm)."""
        return self._publisher.link.blocked

    def health(self) -> Health:
        """Return whether it can do its work, as probes ask; waits for one turn of the event loop.

        A process whose event loop does not turn does not answer at all. For Kubernetes: not alive where nothing
        answers in time, and not ready where `Health.ready` is false; a broker that is away is no reason to restart
        a process, which connects again by itself.
        """
        began = monotonic()
        gevent.sleep(0)
        return self._health(monotonic() - began)

    def _health(self, loop_lag: float = 0.0) -> Health:
        """Return the same without waiting: for who answers in the greenlet that owns a connection."""
        return Health(
            connected=self.connected,
            consuming=self._consumer.consuming,
            blocked=self.blocked,
            loop_lag=max(loop_lag, self._loop_lag.worst()),
        )

    def confirm_times(self) -> Histogram:
        """Return how long the broker took to confirm messages, since this was made.

        The requests of a client, the replies of a server: each that the broker has taken, from its being written to
        the connection until the confirm was read. One that was sent again, because its connection was lost or the
        broker refused it for a while, counts from the last time: how long the broker was away is not in it.
        """
        return self._publisher.confirm_times

    def _link_stats(self) -> dict[str, int]:
        reconnects = self._publisher.link.reconnects + self._consumer.link.reconnects
        return {"reconnects": reconnects, "outbox": len(self._publisher)}

    def wait_connected(self, timeout: float | None = None) -> bool:
        """Wait until both connections are up.

        Args:
            timeout: Seconds to wait at most; None for no limit.

        Returns:
            Whether they are.

        Raises:
            BrokerError: The broker refused in a way that trying again cannot mend.
            RuntimeError: It was made before this process was forked.
        """
        self._raise_failure()
        deadline = None if timeout is None else monotonic() + timeout
        for link in (self._consumer.link, self._publisher.link):
            remaining = None if deadline is None else _until(deadline)
            gevent.wait([link.attached, self._ended], timeout=remaining, count=1)
        self._raise_failure()
        return self.connected

    def wait_stopped(self, timeout: float | None = None) -> bool:
        """Wait until it is stopped, by whomever; as `serve` with ``nowait=False``, but without starting it.

        Args:
            timeout: Seconds to wait at most; None for no limit.

        Returns:
            Whether it is.

        Raises:
            BrokerError: The broker refused in a way that trying again cannot mend.
            RuntimeError: It was made before this process was forked.
        """
        self._insist_on_own_process()
        stopped = self._ended.wait(timeout)
        self._raise_failure()
        return stopped

    def _queue_status(self, names: Iterable[str], timeout: float) -> dict[str, QueueStatus | None]:
        """Ask the broker how these queues are, over the connection that no resource alarm blocks."""
        deadline = monotonic() + timeout
        self._raise_failure()
        asked = {name: self._ask_for(name) for name in names}
        found: dict[str, QueueStatus | None] = {}
        silent: dict[str, str] = {}
        for name, result in asked.items():
            gevent.wait([result, self._ended], timeout=_until(deadline), count=1)
            self._raise_failure()
            if not result.ready():
                link = self._consumer.link
                silent[name] = f"asking for queue {name!r} was not answered ({link.name}: {link.state})"
                continue
            try:
                found[name] = result.get()
            except BrokerUnreachable as error:
                silent[name] = f"queue {name!r}: {error}"
        if silent:
            unreachable = BrokerUnreachable("; ".join(silent.values()))
            unreachable.answered, unreachable.unanswered = found, tuple(silent)
            raise unreachable
        return found

    def _ask_for(self, name: str) -> AsyncResult[Any]:
        """Ask for a queue, unless an earlier question about it is still unanswered."""
        for each in [each for each, result in self._asked.items() if result.ready()]:
            del self._asked[each]
        if name not in self._asked:
            self._asked[name] = self._consumer.run(partial(queue_status, name))
        return self._asked[name]

    def serve(self, nowait: bool = True) -> None:
        """Connect to the broker and start working; reconnect whenever the connection breaks.

        Does nothing more than wait where it serves already. After `stop`, it resumes where it
        stopped: what was not sent then is sent now.

        Args:
            nowait: Return at once and work in the background (the default). Otherwise block the
                current greenlet until `stop` is called.

        Raises:
            BrokerError: Only with ``nowait=False``: the first connection was refused for a reason
                that trying again cannot mend (credentials, virtual host, certificates, a conflicting
                exchange or queue). A broker that is merely not there yet is waited for.
            RuntimeError: It was made before this process was forked.
        """
        self._insist_on_own_process()
        stopping, self._stopping = self._stopping, None
        if stopping is not None:
            # Of a caller that was interrupted: the rest of it would end what begins here.
            stopping.kill()
        self._begin()
        self._failure = None
        self._ended.clear()
        self._loop_lag.start()
        self._publisher.link.start()
        self._consumer.link.start()
        self._close_when_dropped()
        if not nowait:
            self.wait_stopped()

    def stop(self) -> None:
        """Disconnect from the broker.

        What was not sent is kept for the next `serve`; what was not acknowledged goes back to its
        queue. Takes at most a few seconds, and does nothing where it has stopped already, or in a
        forked child that inherited it. If the caller is interrupted while it waits, by a `gevent.Timeout` or the
        handler of a signal, it stops in the background.
        """
        if self._forked:
            return
        stopping = self._stopping
        if stopping is None or stopping.dead:
            stopping = self._stopping = gevent.spawn(self._stop)
            stopping.name = f"amphora {self._service_name} stop"
        if not (self._publisher.link.in_owner or self._consumer.link.in_owner):
            stopping.get()

    def stop_for_good(self, event: str = "the client was stopped") -> None:
        """Stop where nothing will call `serve` again: what is unconfirmed is waited for and then reported.

        Called by Amphora itself, when it throws an endpoint away.

        Args:
            event: What the report is to say has happened.
        """
        if self._forked:
            return
        if self._unconfirmed is not None:
            self._unconfirmed.wait()
        self.stop()
        if self._unconfirmed is not None:
            self._unconfirmed.report(event)

    def _stop(self) -> None:
        """Do what `stop` does, in a greenlet of its own: it goes on where the caller of `stop` is interrupted."""
        deadline = monotonic() + _FAREWELL
        self._publisher.flush(_FAREWELL)
        self._consumer.link.stop(_until(deadline))
        self._publisher.link.stop(_until(deadline))
        self._loop_lag.stop()
        if self._finalizer is not None:
            self._finalizer.detach()
        self._ended.set()

    def stop_publisher(self) -> None:
        """Stop publishing; messages are kept for the next `serve`. Consuming goes on."""
        gevent.spawn(_stop_publisher, self._publisher, monotonic() + 2 * _FAREWELL).get()

    def stop_consumer(self) -> None:
        """Stop consuming; what was not acknowledged goes back to its queue. Publishing goes on."""
        self._consumer.link.stop(_FAREWELL)

    def __enter__(self) -> Self:
        self.serve()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def _on_fatal(self, error: BrokerError) -> None:
        """A link found that its first connection can never work."""
        # In one go: who is told of the failure may call `serve` again at once.
        self._publisher.link.abort()
        self._consumer.link.abort()
        self._loop_lag.stop()
        self._failure = error
        self._fail_pending(error)
        self._ended.set()

    def let_go(self) -> None:
        """Leave the connections to the parent, in a child that was just forked; called by Amphora itself."""
        self._forked = True
        self._stopping = None
        if self._finalizer is not None:
            self._finalizer.detach()
        self._loop_lag.stop()

    def _close_when_dropped(self) -> None:
        """Have the connections closed when the program refers to this endpoint no longer."""
        if not self._closes_when_dropped or (self._finalizer is not None and self._finalizer.alive):
            return
        leave = partial(
            _leave, self._publisher, self._consumer, self._loop_lag, self._pending_count(), self._unconfirmed
        )
        self._finalizer = finalize(self, _on_dropped, gevent.get_hub().loop, leave, repr(self))
        self._finalizer.atexit = False

    def _pending_count(self) -> Callable[[], int]:
        """Return what tells how many results are still waited for; it must not refer to this endpoint."""
        return int

    def _begin(self) -> None:
        """Begin what the connections are for; overridden where something is to be begun anew with each `serve`."""

    def _fail_pending(self, error: BrokerError) -> None:
        """End what waits for the broker; overridden where something does."""

    def _insist_on_own_process(self) -> None:
        """Raise a `RuntimeError` in a forked child that inherited this endpoint."""
        if self._forked:
            raise RuntimeError(
                f"{self!r} was made before this process was forked, and belongs to its parent: make another one here "
                "(under gunicorn and uWSGI, in the worker)"
            )

    def _raise_failure(self) -> None:
        """Raise the error that ended `serve`, as a new exception each time; or that this is another process."""
        self._insist_on_own_process()
        if self._failure is not None:
            raise copy(self._failure) from self._failure


def _adapt(publisher: Publisher, consumer: Consumer | None, queue_type: str) -> None:
    """Treat the service's own queue as its type asks for."""
    publisher.patience = nack_retry_seconds(queue_type)
    if consumer is not None:
        consumer.insists = queue_type == CLASSIC


def _weakly(method: Callable[[BrokerError], None]) -> Callable[[BrokerError], None]:
    """Return a function that calls a method as long as its object is there."""
    reference = WeakMethod(method)

    def call(error: BrokerError) -> None:
        bound = reference()
        if bound is not None:
            bound(error)

    return call


def _on_dropped(loop: Any, leave: Callable[[], None], name: str) -> None:
    """An endpoint was collected, perhaps in another thread, that was not stopped."""
    if sys.is_finalizing():
        return
    with suppress(ValueError, AttributeError):
        # (Where the loop is destroyed, its connections are closed.)
        loop.run_callback_threadsafe(gevent.spawn, leave)
    warnings.warn(f"{name} was dropped without stop(): closing its connections", ResourceWarning, stacklevel=2)


def _leave(
    publisher: Publisher,
    consumer: Consumer,
    loop_lag: LoopLag,
    pending: Callable[[], int],
    unconfirmed: UnconfirmedRequests | None,
) -> None:
    """Close the connections of an endpoint that was dropped, when what was begun with it has come to an end."""
    while pending():
        gevent.sleep(_LOOK)
    # What was asked of the publisher leaves before: commands, then messages.
    publisher.run(lambda _: None).wait(_FAREWELL)
    publisher.flush(_FAREWELL)
    if unconfirmed is not None:
        unconfirmed.wait()
    consumer.link.stop(_FAREWELL)
    publisher.link.stop(_FAREWELL)
    loop_lag.stop()
    if unconfirmed is not None:
        unconfirmed.report("the client was dropped")


def _stop_publisher(publisher: Publisher, deadline: float) -> None:
    publisher.flush(_FAREWELL)
    publisher.link.stop(min(_FAREWELL, _until(deadline)))


def _until(deadline: float) -> float:
    return max(0.0, deadline - monotonic())
