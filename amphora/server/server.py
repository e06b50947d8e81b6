"""`AmqpRpcServer`: runs functions that clients call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic
from typing import Any, ClassVar, TypeVar, overload

from amphora.core.finished import FinishedRequests
from amphora.durations import Histogram
from amphora.endpoint.endpoint import check_patched
from amphora.endpoint.service_endpoint import ServiceEndpoint
from amphora.endpoint.service_topology import ServiceTopology
from amphora.exceptions import BrokerError
from amphora.links.queue_types import QueueTypes
from amphora.links.topology import Topology
from amphora.options.brokers import AMQP_HOST, AMQP_PASSWORD, AMQP_PORT, AMQP_USER, AMQP_VHOST
from amphora.options.server_options import ServerOptions
from amphora.options.settings import MAX_RECEIVED_SIZE, SslOption, tries_limit
from amphora.protocol.names import DEFAULT_QUEUE_TEMPLATE, uuid_of
from amphora.protocol.signatures import SIGNATURE_VERSIONS, signatures_of
from amphora.serializers import RpcJsonSerializer, SerializerOption
from amphora.server.delivery_limit import DeliveryLimit
from amphora.server.function_names import add_or_decorate
from amphora.server.introspection import ControlRequests, introspection_of
from amphora.server.middleware import ServerMiddleware, around_function
from amphora.server.receiver import Receiver
from amphora.server.receiving import Receiving
from amphora.server.registry import Registry
from amphora.server.request_handler import RequestHandler
from amphora.server.served_request import ServedRequest
from amphora.server.worker_pool import Pool, WorkerPool
from amphora.value_checks import at_least_one, seconds

__all__ = ["AmqpRpcServer"]

Function = TypeVar("Function", bound=Callable[..., Any])
Middleware = TypeVar("Middleware", bound=ServerMiddleware)

#: Seconds to wait for the broker to agree to the end of subscriptions, at most.
_ANSWER = 5.0


class AmqpRpcServer(ServiceEndpoint):
    """Runs the functions of an RPC service for its clients.

    ::

        server = AmqpRpcServer("math")

        @server.add_function
        def add(x, y):
            return x + y

        server.serve(nowait=False)

    Any number of servers may share a service; each request goes to one of them. A request is
    acknowledged only after its reply is confirmed by the broker: a server that dies before leaves it
    to another. So a request can run twice, but one server process never runs the same request twice
    at the same time, nor again while it remembers having finished it.

    Args:
        service_name: Namespace of the RPC service.
        serializer: Decodes requests and encodes replies; a subclass of `AbstractRpcSerializer`, or an instance.
        broker_url: ``amqp://user:password@host:port/vhost``, ``amqps://...`` (TLS), several of them separated by ``;``
            (the nodes of a cluster, tried in order), or ``memory://`` (this process only, for tests and demos). Instead
            of the ``amqp_*`` arguments.
        amqp_host: Host name or IP address of the broker.
        amqp_port: TCP port of the broker.
        amqp_user: User name.
        amqp_password: Password.
        amqp_vhost: Virtual host.
        ssl: TLS: True for the system's certificates, an `ssl.SSLContext`, or a dict with any of ``ca_certs``,
            ``certfile``, ``keyfile``, ``password``, ``server_hostname``, ``check_hostname`` and ``verify``.
            Certificates are verified unless that says otherwise.
        shuffle_brokers: Whether to try the brokers of ``broker_url`` in a random order instead, so that many processes
            do not all use the first one.
        heartbeat: Seconds (whole ones) between heartbeats; a broker silent for two of them is taken for lost. A
            function may keep the processor busy for nearly as long. 0 switches heartbeats off, and with them the notice
            of a silent network.
        connect_timeout: Seconds for an attempt to connect, and for any one answer of the broker.
        reconnect_delay_max: The most seconds between attempts to connect; the first attempt is made at once, then the
            delay grows, with jitter.
        concurrency: How many requests run at the same time, of all queues together; also how many the broker sends
            ahead.
        queue_template: Template of label queues' names, with ``{label}`` and perhaps ``{namespace}``; the same on
            client and server.
        queue_type: ``"auto"``: queues that exist are used as they are; new ones are quorum queues on RabbitMQ 4, if
            they last, and classic otherwise (responses, broadcasts, label queues with ``x_expires``). A classic queue
            of RabbitMQ 4 confirms messages before they are on disk. ``"classic"`` or ``"quorum"`` for all queues:
            quorum queues outlive the loss of a node of a cluster. A program that names the type gets a
            `TopologyConflict` where a queue has the other one. See docs/operations.md.
        delivery_limit: How many tries a request has that is not finished, because its server dies or loses its
            connection, or its function ignores it; at least 2. After that it is dead-lettered to the queue
            ``rpc_{service_name}_dead``, and its caller gets `DeadLettered`. 0 for any number. By default 20 with
            ``queue_type="quorum"``, and any number otherwise.
        accept: Further serializers whose requests are understood, and answered in kind.
        signing_keys: Keys shared by the clients and servers of the service, at least 16 bytes each: every reply is
            signed with the first one, and a request that was signed with none of them is refused (HMAC-SHA256, see
            docs/security.md). By default nothing is signed, and everything accepted.
        signature_window: With ``signing_keys``, seconds for which a request is accepted after it was signed, by the
            clocks of both machines: longer than requests may wait, in an outbox or in a queue. None for any time.
        signature_versions: With ``signing_keys``, versions of the signature that are accepted. Version 1 is that of
            Amphora 1.0.0a1, and does not cover the routing key and most headers. Pass ``(2,)`` when no client of that
            release is left; 1.1 will have that as its default.
        uuid: Identifier of this server; by default a random one. A fan-out server's queue bears it.
        ignore_delay: Seconds to wait before a request that a function ignores again and again is given back to the
            queue. While it waits it counts among the ``concurrency`` requests that the broker sends ahead: as many
            requests that no server ever accepts keep out all others.
        remember_count: How many finished requests are remembered, so that none runs twice.
        remember_bytes: Bytes that their replies may take together. Beyond that the oldest replies are dropped; the
            requests stay remembered.
        remember_seconds: Seconds for which they are remembered.
        send_tracebacks: Whether a remote exception carries its traceback; off by default, as it shows the server's
            inside to its clients.
        introspection: Whether to answer `AmqpRpcClient.inspect` and calls of the reserved functions ``amphora.ping``,
            ``amphora.functions``, ``amphora.stats`` and ``amphora.health``: who and where this server is, its functions
            with their docstrings, its counts, how it is. A server that is not fan-out has a queue
            ``rpc_{service_name}_{uuid}_control`` for it, and does without where it lacks the permission.
        fanout_queue_expires: Seconds that the broker keeps the queue of a fan-out server that is not connected.
        max_message_size: Bytes of one reply's body; RabbitMQ's own limit is 128 MiB until 4.0, 16 MiB since.
        max_received_size: Bytes of one request's body that are decoded; a larger one is answered with `WrongRequest`,
            and not run. JSON and MessagePack take up to 75 times their size in memory while they are decoded.

    Raises:
        RuntimeError: The program is not monkey-patched.
        TypeError, ValueError: An argument is wrong.
    """

    _options_type = ServerOptions
    _fanout: ClassVar[bool] = False

    def __init__(
        self,
        service_name: str,
        serializer: SerializerOption = RpcJsonSerializer,
        *,
        broker_url: str | None = None,
        amqp_host: str = AMQP_HOST,
        amqp_port: int = AMQP_PORT,
        amqp_user: str = AMQP_USER,
        amqp_password: str = AMQP_PASSWORD,
        amqp_vhost: str = AMQP_VHOST,
        ssl: SslOption = False,
        shuffle_brokers: bool = False,
        heartbeat: int = 30,
        connect_timeout: float = 10.0,
        reconnect_delay_max: float = 1.0,
        concurrency: int = 100,
        queue_template: str = DEFAULT_QUEUE_TEMPLATE,
        queue_type: str = "auto",
        delivery_limit: int | None = None,
        accept: Sequence[SerializerOption] = (),
        signing_keys: Sequence[bytes | str] = (),
        signature_window: float | None = 300.0,
        signature_versions: Sequence[int] = SIGNATURE_VERSIONS,
        uuid: str | None = None,
        ignore_delay: float = 1.0,
        remember_count: int = 10_000,
        remember_bytes: int = 16 * 1024 * 1024,
        remember_seconds: float = 300.0,
        send_tracebacks: bool = False,
        introspection: bool = True,
        fanout_queue_expires: float = 60.0,
        max_message_size: int = 128 * 1024 * 1024,
        max_received_size: int = MAX_RECEIVED_SIZE,
    ) -> None:
        check_patched(type(self).__name__)
        options = ServerOptions.of(locals())
        names = options.names
        uuid = uuid_of(options.uuid)
        self._concurrency = options.concurrency
        # A broadcast that one server drops is no loss worth a limit, unless it is configured.
        limit = tries_limit(options.delivery_limit, "classic" if self._fanout else options.queue_type)
        types = QueueTypes(options.queue_type)
        declared = ServiceTopology(names, self._fanout, types, limit)
        queue = declared.server_queue(uuid, options.fanout_queue_milliseconds)
        topology = declared.for_replies()
        super().__init__(
            names,
            uuid,
            "server",
            options.link_settings,
            options.outbox_limits,
            publishes=topology,
            consumes=Topology([queue]),
            acks_on_delivery=False,
            types=types,
            queues=[queue.name] if limit is None else [queue.name, names.dead_letters],
        )
        codec = options.codec
        signatures = signatures_of(
            options.signing_keys,
            service=names.namespace,
            window=options.signature_window,
            versions=options.signature_versions,
        )
        poison = None
        if limit is not None:
            poison = DeliveryLimit(
                repr(self),
                names=names,
                limit=limit,
                publisher=self._publisher,
                topology=topology,
                signatures=signatures,
                fanout=self._fanout,
            )
        self._registry = Registry()
        for each in options.outermost_middleware:
            self.add_middleware(each)
        self._handler = RequestHandler(
            repr(self),
            queue=queue.name,
            names=names,
            codec=codec,
            registry=self._registry,
            publisher=self._publisher,
            consumer=self._consumer,
            finished=FinishedRequests(
                count=options.remember_count,
                size=options.remember_bytes,
                age=options.remember_seconds,
            ),
            pool=self._new_pool(),
            concurrency=self._concurrency,
            ignore_delay=options.ignore_delay,
            drop_ignored=self._fanout,
            send_tracebacks=options.send_tracebacks,
            poison=poison,
            signatures=signatures,
        )
        control = None
        if options.introspection:
            reserved = introspection_of(
                uuid=uuid,
                concurrency=self._concurrency,
                functions=lambda: self._registry.functions,
                stats=self.stats,
                run_times=self.run_times,
                health=self._health,
            )
            self._registry.reserve(reserved)
            control = ControlRequests(
                repr(self),
                names=names,
                uuid=uuid,
                codec=codec,
                functions=reserved,
                publisher=self._publisher,
                consumer=self._consumer,
                signatures=signatures,
                own_queue=not self._fanout,
            )
        self._receiving = Receiving(
            self._consumer,
            self._handler,
            queue=queue.name,
            control=control,
            concurrency=self._concurrency,
            stopped=self._ended,
        )

    @property
    def concurrency(self) -> int:
        """How many requests run at the same time."""
        return self._concurrency

    @property
    def functions(self) -> dict[str, Callable[..., Any]]:
        """The functions by their remote names (a copy)."""
        return self._registry.functions

    def stats(self) -> dict[str, int]:
        """Return counts since the server was made, and what is under way.

        Returns:
            ``requests`` run; of these ``errors`` (the function raised), ``wrong_requests`` (could not
            be read or named no function) and ``ignored``; ``duplicates`` (known already, not run
            again); ``dead_lettered`` (tried too often, see ``delivery_limit``); ``expired`` (the
            deadline had passed, not run); ``untrusted`` (not signed, altered or too old where ``signing_keys`` are
            given; not run); ``dropped`` (unreadable, without an address for a reply); ``undeliverable``
            replies (the client is gone); ``reconnects`` of both connections; ``running`` requests and
            replies in the ``outbox`` now.
        """
        return {**self._handler.stats(), **self._link_stats()}

    def run_times(self) -> dict[str, Histogram]:
        """Return how long functions ran, with the middleware around them, since the server was made.

        Returns:
            By the function's remote name, of those that have run. A run that raised counts like any other;
            the time that a request waited for its turn before does not.
        """
        return self._handler.run_times()

    # -- functions --------------------------------------------------------------------------

    @overload
    def add_function(self, func: Function, name: str | None = None) -> Function: ...

    @overload
    def add_function(self, func: str) -> Callable[[Function], Function]: ...

    @overload
    def add_function(self, *, name: str) -> Callable[[Function], Function]: ...

    def add_function(self, func: Any = None, name: str | None = None) -> Any:
        """Add a remote function; a call or a decorator.

        ::

            server.add_function(add)
            server.add_function(substract, name="sub")

            @server.add_function
            def multiply(x, y): ...

            @server.add_function("div")
            def divide(x, y): ...

        The function runs in a greenlet. What it returns must be something that the serializer can
        encode; an exception that it raises reaches the caller as a `RemoteException`. So do `SystemExit`,
        `gevent.GreenletExit` and `KeyboardInterrupt`, which do not end the server; Ctrl-C does. It may raise
        `IgnoreRequest` to give the request to another server.

        Args:
            func: The function, or its remote name when used as a decorator with a name.
            name: Its remote name; by default its own name. Dots are allowed.

        Returns:
            The function itself, or a decorator.

        Raises:
            TypeError: Not a callable, a name that is not text, or the two in the wrong order.
            ValueError: Another function has that name.
        """
        return add_or_decorate(self._registry.add, func, name)

    def add_middleware(self, middleware: Middleware) -> Middleware:
        """Let something run around every remote function; a call or a decorator.

        ::

            @server.add_middleware
            def timed(request, call):
                started = time.monotonic()
                try:
                    return call()
                finally:
                    print(request.function, time.monotonic() - started)

        It runs in the greenlet of the request, and for requests that name a function of this server only. The one that
        was added first is the outermost.

        Args:
            middleware: Takes the request (`CurrentRequest`), and a function without arguments that runs the rest. It
                returns or raises what the caller is to get; ``call()`` returns or raises what the remote function
                does, `IgnoreRequest` included.

        Returns:
            The middleware itself.

        Raises:
            TypeError: It is not callable.
        """
        if not callable(middleware):
            raise TypeError(f"a middleware takes (request, call), and {middleware!r} is not callable")
        self._registry.surround(partial(around_function, middleware))
        return middleware

    # -- life cycle -------------------------------------------------------------------------

    def _begin(self) -> None:
        self._handler.accepting = True
        self._receiving.start()

    def prepare_stop(self, timeout: float | None = 30.0) -> bool:
        """Take no more requests, and wait until the running ones are replied to and acknowledged.

        Followed by `stop` this is a warm shutdown. Requests that were delivered but have not begun
        go back to the queue. A function may call it: its own request is not waited for.

        Args:
            timeout: Seconds to wait at most; 0 to not wait, None for no limit.

        Returns:
            Whether everything was finished.
        """
        deadline = None if timeout is None else monotonic() + timeout
        self._handler.accepting = False
        self._receiving.end(_ANSWER if timeout is None else min(timeout, _ANSWER))
        self._handler.give_back_waiting()
        return self._handler.wait_idle(None if deadline is None else max(0.0, deadline - monotonic()))

    def stop(self) -> None:
        """Disconnect from the broker.

        Requests that are running go on, but go back to the queue as well: another server, or this
        one, gets them again (this one does not run them twice). Their replies are kept for the next
        `serve`. Call `prepare_stop` before to let them finish. Takes ten seconds at most, where the
        broker does not answer.
        """
        super().stop()

    def _stop(self) -> None:
        self._handler.accepting = False
        self._receiving.end(_ANSWER)
        self._handler.give_back_waiting()
        super()._stop()

    def _new_pool(self) -> Pool[ServedRequest]:
        """Return what runs the functions, ``concurrency`` at the same time; overridden to run them elsewhere."""
        return WorkerPool(self._concurrency)

    def _fail_pending(self, error: BrokerError) -> None:  # noqa: ARG002  (`receive_from_queue` raises it)
        self._receiving.close_all()

    # -- receive_from_queue -----------------------------------------------------------------

    def receive_from_queue(
        self,
        queue: str,
        max_calls: int | None = None,
        timeout: float | None = None,
        block: bool = True,
        wait_for_queue: bool = True,
    ) -> int | None:
        """Take requests from the queue of a label, in addition to the service's own queue.

        The subscription survives reconnects. It ends after ``max_calls`` requests, after ``timeout``
        seconds, with `stop_receiving`, `prepare_stop` or `stop`, whichever comes first. Requests
        that it has taken by then are finished; not one more than ``max_calls`` is run.

        Args:
            queue: Label of the queue; ``queue_template`` makes its name. Created by
                `AmqpRpcClient.create_new_request_queue`.
            max_calls: How many requests to take; by default any number.
            timeout: Seconds after which to take no more; by default no limit. Waiting for the queue
                to appear counts.
            block: Block the current greenlet until it has ended and the requests it took are
                finished. Otherwise return at once (or, with ``wait_for_queue=False``, as soon as it
                is known whether the queue exists).
            wait_for_queue: Wait for a queue that does not exist yet: it is looked for again and
                again, at most a second apart.

        Returns:
            With ``block``, the number of requests handled; else None.

        Raises:
            gevent.Timeout: With ``block``, if ``timeout`` passed before ``max_calls`` requests came.
            ValueError: The queue does not exist (with ``wait_for_queue=False``), or the label gives
                the service's own queue.
            BrokerError: The broker refuses the server; see `serve`.
        """
        name = self._names.label_queue(queue)
        if max_calls is not None:
            at_least_one("max_calls", max_calls)
        if timeout is not None:
            timeout = seconds("timeout", timeout, zero=True)
        self._raise_failure()
        handled = self._receiving.receive(
            Receiver(queue, max_calls), name, timeout=timeout, block=block, wait_for_queue=wait_for_queue
        )
        self._raise_failure()
        return handled

    def stop_receiving(self, queue: str) -> None:
        """End every `receive_from_queue` of a label.

        Args:
            queue: The label.
        """
        self._receiving.close(queue)
