"""`AmqpRpcClient`: calls remote functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic
from typing import Any, ClassVar, TypeVar, cast

import gevent

from amphora.client.bound import bind
from amphora.client.call_builder import CallBuilder
from amphora.client.call_tracker import CallTracker
from amphora.client.caller import CALL_OPTIONS, CAST_OPTIONS, DEFER_OPTIONS, PrettyCaller
from amphora.client.casts import Casts
from amphora.client.inspector import Answer, Counts, Inspector
from amphora.client.label_queues import LabelQueues
from amphora.client.middleware import ClientMiddleware
from amphora.endpoint.at_exit import UnconfirmedRequests, leave_at_exit
from amphora.endpoint.endpoint import check_patched, in_hub_thread
from amphora.endpoint.service_endpoint import ServiceEndpoint
from amphora.endpoint.service_topology import ServiceTopology
from amphora.exceptions import BrokerError, TopologyConflict
from amphora.links.queue_types import QueueTypes
from amphora.links.topology import Witness, queue_status
from amphora.options.brokers import AMQP_HOST, AMQP_PASSWORD, AMQP_PORT, AMQP_USER, AMQP_VHOST
from amphora.options.client_options import ClientOptions
from amphora.options.settings import MAX_RECEIVED_SIZE, SslOption
from amphora.protocol.headers import CONTROL
from amphora.protocol.names import CONTROL_KEY, DEFAULT_QUEUE_TEMPLATE, check_routing_key, uuid_of
from amphora.protocol.routing import Router, TuningFunction
from amphora.protocol.signatures import SIGNATURE_VERSIONS, signatures_of
from amphora.serializers import RpcJsonSerializer, SerializerOption
from amphora.value_checks import expiry_of, timeout_of

__all__ = ["AmqpRpcClient"]

Bound = TypeVar("Bound")
Tuning = TypeVar("Tuning", bound=TuningFunction)
Middleware = TypeVar("Middleware", bound=ClientMiddleware)

#: How many replies the broker may send ahead.
_PREFETCH = 1000

#: Seconds after a `TopologyConflict` from which on the next call connects again: the queue may have been removed.
_TRY_AGAIN = 1.0


class AmqpRpcClient(ServiceEndpoint):
    """Calls the functions of an RPC service.

    ::

        client = AmqpRpcClient("math")
        client.call.add(1, 2)                  # waits for the result: 3
        result = client.defer.add(1, 2)        # a gevent AsyncResult, once the broker has the request
        result.get()                           # 3

    A client may be used by any number of greenlets. It can be called right after it was made, and
    while the broker is away: requests are held and sent when the connection is up. Requests with
    one routing key reach the broker in the order of the calls.

    What is guaranteed: a request that `defer` has returned for (with ``wait_publish``) is stored by
    the broker and runs at least once; its reply waits for this client if the connection breaks.
    What is not: a request can run twice when a connection breaks between running it and
    acknowledging it; requests held by a process that ends are gone with it.

    Args:
        service_name: Namespace of the RPC service.
        uuid: Identifier of this client, part of its response queue's name; by default a random one. A new client with
            the uuid of a former one takes over its response queue, and drops the replies to the former one's calls. Two
            clients must not use the same one at the same time: they would receive each other's replies (a warning is
            logged).
        serializer: Encodes requests; a subclass of `AbstractRpcSerializer`, or an instance.
        timeout: Default seconds that a call may take, from the call to the reply; None for no limit.
        autostart: Whether to `serve` at once; otherwise requests are held until `serve`.
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
        heartbeat: Seconds (whole ones) between heartbeats; a broker silent for two of them is taken for lost. 0
            switches heartbeats off, and with them the notice of a silent network.
        connect_timeout: Seconds for an attempt to connect, and for any one answer of the broker.
        reconnect_delay_max: The most seconds between attempts to connect; the first attempt is made at once, then the
            delay grows, with jitter.
        queue_template: Template of label queues' names, with ``{label}`` and perhaps ``{namespace}``; the same on
            client and server.
        queue_type: ``"auto"``: queues that exist are used as they are; new ones are quorum queues on RabbitMQ 4, if
            they last, and classic otherwise (responses, broadcasts, label queues with ``x_expires``). A classic queue
            of RabbitMQ 4 confirms messages before they are on disk. ``"classic"`` or ``"quorum"`` for all queues:
            quorum queues outlive the loss of a node of a cluster. A program that names the type gets a
            `TopologyConflict` where a queue has the other one. See docs/operations.md.
        delivery_limit: See `AmqpRpcServer`. Queues are declared differently for it with ``queue_type="quorum"`` only:
            then it must be the same there and here.
        accept: Further serializers whose replies are understood.
        signing_keys: Keys shared by the clients and servers of the service, at least 16 bytes each: every request is
            signed with the first one, and a reply that was signed with none of them is refused (HMAC-SHA256, see
            docs/security.md). By default nothing is signed, and everything accepted.
        signature_versions: With ``signing_keys``, versions of the signature that requests get and that are accepted in
            replies. Version 1 is that of Amphora 1.0.0a1. Pass ``(2,)`` when no server of that release is left; 1.1
            will have that as its default.
        identify: Whether requests carry the name of the broker's user, as AMQP's ``user_id``, which RabbitMQ checks:
            servers find it in `CurrentRequest.user`, and functions can be restricted to users with `require_user`.
        declare: Whether to declare the service's exchanges and request queue. False for a user who may only use what a
            server has declared: the client declares its own response queue, and waits for the rest.
        response_queue_expires: Seconds that the broker keeps the response queue of a client that is not connected.
        outbox_max_count: Requests that may await the broker's confirmation.
        outbox_max_bytes: Bytes of their bodies.
        max_message_size: Bytes of one request's body; RabbitMQ's own limit is 128 MiB until 4.0, 16 MiB since.
        max_received_size: Bytes of one reply's body that are decoded; the call of a larger one raises `WrongResult`.
            JSON and MessagePack take up to 75 times their size in memory while they are decoded.
        exit_timeout: Seconds for which the exit of the process waits until the broker has confirmed the requests that
            were deferred with ``wait_publish=False``, or whose callers have given up. Those that it has not confirmed
            by then are lost, and an ERROR record says how many there are and which functions they call.

    Raises:
        RuntimeError: The program is not monkey-patched.
        TypeError, ValueError: An argument is wrong.
    """

    _options_type = ClientOptions
    _fanout: ClassVar[bool] = False
    _closes_when_dropped: ClassVar[bool] = True
    _unconfirmed: UnconfirmedRequests

    def __init__(
        self,
        service_name: str,
        uuid: str | None = None,
        serializer: SerializerOption = RpcJsonSerializer,
        timeout: float | None = 60,
        autostart: bool = True,
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
        queue_template: str = DEFAULT_QUEUE_TEMPLATE,
        queue_type: str = "auto",
        delivery_limit: int | None = None,
        accept: Sequence[SerializerOption] = (),
        signing_keys: Sequence[bytes | str] = (),
        signature_versions: Sequence[int] = SIGNATURE_VERSIONS,
        identify: bool = False,
        declare: bool = True,
        response_queue_expires: float = 1800.0,
        outbox_max_count: int = 10_000,
        outbox_max_bytes: int = 64 * 1024 * 1024,
        max_message_size: int = 128 * 1024 * 1024,
        max_received_size: int = MAX_RECEIVED_SIZE,
        exit_timeout: float = 5.0,
    ) -> None:
        check_patched(type(self).__name__)
        options = ClientOptions.of(locals())
        names, timeout = options.names, options.timeout
        uuid = uuid_of(options.uuid)
        limit = options.tries
        types = QueueTypes(options.queue_type)
        declared = ServiceTopology(names, self._fanout, types, limit, options.declare)
        response_queue = declared.response_queue(uuid, options.response_queue_milliseconds)
        witness = Witness(response_queue)
        topology = declared.for_requests(response_queue, witness)
        queues = [] if self._fanout else [names.request_queue]
        if limit is not None and not self._fanout:
            queues.append(names.dead_letters)
        super().__init__(
            names,
            uuid,
            "client",
            options.link_settings,
            options.outbox_limits,
            publishes=topology,
            consumes=declared.for_responses(response_queue, witness),
            acks_on_delivery=True,
            types=types,
            queues=queues,
        )
        self._calls = CallTracker(
            repr(self),
            exchange=names.request_exchange,
            reply_to=uuid,
            codec=options.codec,
            publisher=self._publisher,
            topology=topology,
            default_queue=not self._fanout,
            user=options.user,
            signatures=signatures_of(
                options.signing_keys, service=names.namespace, versions=options.signature_versions
            ),
            consumers=partial(self._consumer.run, partial(queue_status, response_queue.name)),
        )
        self._casts = Casts(repr(self), self._calls, self._publisher, reply_to=uuid)
        self._consumer.subscribe(
            response_queue.name, prefetch=_PREFETCH, deliver=self._calls.receive, own=True, private=True
        )
        self._labels = LabelQueues(
            self._publisher,
            topology,
            declared.label_queue,
            timeout,
            self._ended,
        )
        unconfirmed = UnconfirmedRequests(
            repr(self), self._publisher, self._calls.unconfirmed, timeout=options.exit_timeout
        )
        unconfirmed.watch(self)
        if not in_hub_thread():
            leave_at_exit(unconfirmed)
        self._unconfirmed = unconfirmed
        self._try_again_at = math.inf
        self._router = Router()
        self._middleware: list[ClientMiddleware] = []
        calling = CallBuilder(
            self._calls, self._casts, self._router, self._middleware, timeout=timeout, check=self._try_again
        )
        self._caller = PrettyCaller(calling.call, CALL_OPTIONS)
        self._deferring_caller = PrettyCaller(calling.defer, DEFER_OPTIONS)
        self._casting_caller = PrettyCaller(calling.cast, CAST_OPTIONS)
        self._inspector = Inspector(self.gather)
        if options.autostart:
            self.serve()

    def stats(self) -> dict[str, int]:
        """Return counts since the client was made, and what is under way.

        Returns:
            ``calls`` sent; ``replies`` received in time and ``late_replies`` to calls that had ended;
            ``untrusted`` replies (not signed, or altered; their calls ended with `WrongResult`);
            calls that ended ``without_result`` and that the broker ``refused`` (unroutable, nacked);
            ``casts`` sent, and ``refused_casts`` that the broker refused or that expired before they could be sent;
            ``reconnects`` of both connections; calls ``pending`` and requests in the ``outbox`` now.
        """
        return {**self._calls.stats(), **self._casts.stats(), **self._link_stats()}

    # -- calls ------------------------------------------------------------------------------

    @property
    def call(self) -> PrettyCaller:
        """Call a remote function and wait for its result.

        ``client.call.name(...)``, or with options ``client.call(timeout=5).name(...)``.

        Options:
            function_name (str): Name of the function, instead of attributes.
            timeout (float | None): Seconds from the call to the reply, the publishing included;
                by default the client's. None for no limit.
            routing_key (str): Routing key of the request, such as a label; by default what the
                tuning function says, else the service's own queue.
            expires (bool | float): True for the timeout, or seconds from the call: once they have passed,
                no server begins to run the request any more. False for no such deadline, not even
                that of the request for which the calling function runs (see `current_request`), which
                is passed on by default.

        Returns:
            A `PrettyCaller`; calling it returns the remote function's result.

        Raises:
            RemoteException: The remote function raised an exception.
            WrongRequest: The server cannot read the request, or has no such function, or does not accept its
                signature or its age.
            WrongResult: The reply cannot be read, or is not signed where ``signing_keys`` ask for it.
            DeadLettered: The servers have given the request up, see ``delivery_limit``.
            NoResult: No reply within the timeout; the text says how far the request had come. Or the
                deadline passed before the request could be sent.
            Unroutable: No queue takes the request.
            Backlogged: The outbox was full for the whole timeout; the request was not sent.
            BrokerError: The broker refuses the client, or the message.
            TypeError: An argument cannot be encoded; nothing was sent.
        """
        return self._caller

    @property
    def defer(self) -> PrettyCaller:
        """Call a remote function without waiting for its result.

        ``client.defer.name(...)``, or with options ``client.defer(routing_key="x").name(...)``.

        Options:
            function_name (str): Name of the function, instead of attributes.
            timeout (float | None): Seconds until the result is given up with `NoResult`; by default
                the client's. None for no limit.
            routing_key (str): See `call`.
            expires (bool | float): See `call`.
            wait_publish (bool): Return only when the broker has confirmed the request (the
                default); otherwise at once, unless the outbox is full.

        Returns:
            A `PrettyCaller`; calling it returns a `gevent.event.AsyncResult`. Its ``get()`` returns
            the result or raises what `call` raises.

        Raises:
            NoResult: Not confirmed within the timeout; the request is kept and may still be sent, until
                it expires. Or the deadline passed before it could be sent.
            Unroutable, Backlogged, BrokerError, TypeError: See `call`. `Unroutable` and
                `BrokerError` are raised here only with ``wait_publish``, else by ``get()``.
        """
        return self._deferring_caller

    @property
    def cast(self) -> PrettyCaller:
        """Have a remote function run, without a reply.

        ``client.cast.name(...)``, or with options ``client.cast(wait_publish=False).name(...)``. The server
        acknowledges the request after the function has ended, so that it runs at least once. If the function raises,
        the server logs an ERROR with the request's id; with a ``delivery_limit``, it is tried again until it is
        dead-lettered.

        Options:
            function_name (str): Name of the function, instead of attributes.
            timeout (float | None): Seconds to wait for the broker's confirmation; by default the client's.
                None for no limit.
            routing_key (str): See `call`.
            expires (bool | float): See `call`.
            wait_publish (bool): Return only when the broker has confirmed the request (the default); otherwise
                at once, unless the outbox is full. See `flush`.
            legacy (bool): Whether servers of 0.1, which do not run requests without a reply, run it too. They send
                replies, which are dropped and counted as ``late_replies``. Off by default.

        Returns:
            A `PrettyCaller`; calling it returns None.

        Raises:
            NoResult: Not confirmed within the timeout; the request is kept and may still be sent, until
                it expires. Or the deadline passed before it could be sent.
            Unroutable, Backlogged, BrokerError, TypeError: See `call`. `Unroutable` and `BrokerError` are raised
                only with ``wait_publish``; otherwise an ERROR is logged, and `flush` returns False.
        """
        return self._casting_caller

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until the broker has confirmed or refused every request sent before, those of `cast` in particular.

        Args:
            timeout: Seconds to wait at most; None for no limit. The wait ends when the client is stopped.

        Returns:
            Whether all were settled in time, and no cast since the last `flush` was lost without its caller being
            told: refused by the broker, or expired before it could be sent.
        """
        return self._casts.flush(None if timeout is None else timeout_of(timeout))

    def bind(self, service: Callable[..., Bound], *, prefix: str = "", **options: Any) -> Bound:
        """Give remote functions as the methods of a class, so that a type checker knows them.

        ::

            class Math(Protocol):
                def add(self, x: int, y: int = 1) -> int: ...

            math = client.bind(Math)
            math.add(1, y=2)        # as client.call.add(1, y=2); a type checker takes it for an int

        Nothing of the class runs, and its types are not checked when the program runs. A class that an attribute is
        annotated with stands for functions with the attribute's name in front: ``text: Text`` for ``text.upper``.
        ``amphora functions NAMESPACE --stub`` writes such a class from the servers that run.

        Args:
            service: The class, often a `typing.Protocol`, with a method for each remote function.
            prefix: What the functions' names begin with, before a dot.
            options: Options of every call, see `call`.

        Returns:
            An object whose methods call the remote functions, as `call` does.

        Raises:
            TypeError: It is not a class, a method is a coroutine function, or an option is unknown.
        """
        return cast("Bound", bind(self._caller, service, prefix=prefix, options=options))

    def tune_function(self, func_name: str) -> Callable[[Tuning], Tuning]:
        """Choose the routing key of a remote function's calls by their arguments.

        ::

            @client.tune_function("show_message")
            def by_user(args, kwargs):          # the values, not unpacked
                return args[0]

        Args:
            func_name: Name of the remote function.

        Returns:
            A decorator that takes the tuning function and returns it. The tuning function returns a
            routing key, a dict with ``routing_key`` (a ``queue`` in it is accepted and ignored), or
            None for the service's own queue. What it raises, the caller gets.
        """

        def decorate(tuning: Tuning) -> Tuning:
            self._router.tune(func_name, tuning)
            return tuning

        return decorate

    def add_middleware(self, middleware: Middleware) -> Middleware:
        """Let something run around the sending of every call; a call or a decorator.

        ::

            @client.add_middleware
            def traced(request, send):
                request.headers["x-trace"] = current_trace()
                result = send()
                result.rawlink(lambda done: note(request.function, done.exception))
                return result

        It runs in the caller's greenlet. The one that was added first is the outermost. The servers' functions find
        the headers in `current_request`. Headers are not signed where there are ``signing_keys``.

        Args:
            middleware: Takes the request (`OutgoingRequest`), and a function without arguments that sends it and
                returns the `gevent.event.AsyncResult` of the call; returns the same. What it raises, the caller
                gets.

        Returns:
            The middleware itself.

        Raises:
            TypeError: It is not callable.
        """
        if not callable(middleware):
            raise TypeError(f"a middleware takes (request, send), and {middleware!r} is not callable")
        self._middleware.append(middleware)
        return middleware

    @property
    def inspect(self) -> Inspector:
        """Ask all servers of the service at once: ``client.inspect.ping()``, ``.functions()``, ``.stats()``,
        ``.health()``.

        Servers of 0.1 and those made with ``introspection=False`` do not answer.
        """
        return self._inspector

    # -- label queues -----------------------------------------------------------------------

    def create_new_request_queue(
        self,
        queue: str,
        routing_key: str | None = None,
        x_expires: int | None = None,
        nowait: bool = False,
    ) -> None:
        """Create a request queue and bind it to the request exchange.

        A call with its routing key may follow at once, also with ``nowait``. The queue is created
        again on a broker that lost everything, until `remove_request_queue`. If another program deletes it, or it
        expires, it is not created again: calls with its routing key raise `Unroutable`, and a warning is logged.

        Args:
            queue: Label of the queue; ``queue_template`` makes its name.
            routing_key: Routing key of its binding; by default the label.
            x_expires: Milliseconds (AMQP's unit) without a consumer after which the broker deletes
                the queue; by default it stays. Pass it for queues of sessions: a quorum queue, which lasting ones are
                on RabbitMQ 4, costs the broker several times the memory of a classic one.
            nowait: Return at once; a failure is logged.

        Raises:
            ValueError: The label gives the service's own queue, or a name too long for AMQP, or has control characters;
                or ``x_expires`` is more than RabbitMQ takes.
            TopologyConflict: The queue exists with other properties, such as another x_expires.
            BrokerUnreachable: Not done within the client's timeout, or before it was stopped where it
                has no timeout; it will be when the broker is there.
        """
        self._try_again()
        name = self._names.label_queue(queue)
        key = check_routing_key(queue if routing_key is None else routing_key)
        if x_expires is not None:
            expiry_of("x_expires", x_expires)
        self._labels.create(name, key, x_expires=x_expires, nowait=nowait)

    def remove_request_queue(self, queue: str, nowait: bool = False) -> None:
        """Delete a request queue with all requests in it; one that does not exist is no error.

        Args:
            queue: Label of the queue.
            nowait: Return at once; a failure is logged.

        Raises:
            BrokerError: The broker refuses, or did not answer within the client's timeout.
        """
        self._try_again()
        self._labels.remove(self._names.label_queue(queue), nowait=nowait)

    def gather(self, function: str, timeout: float, limit: int | None, counts: Counts) -> list[Answer]:
        """Call a reserved function of all servers; called by `inspect`.

        Args:
            function: Its name.
            timeout: Seconds to wait for answers.
            limit: How many are enough; None to wait for the whole time.
            counts: Tells whether an answer is one of those.

        Raises:
            BrokerError: The broker refuses the client.
        """
        self._raise_failure()
        # Every fan-out server gets every request, whatever its routing key.
        key, headers = ("", {CONTROL: True}) if self._fanout else (CONTROL_KEY, None)
        answers = self._calls.gather(function, timeout, routing_key=key, limit=limit, counts=counts, headers=headers)
        return [Answer(*each) for each in answers]

    # -- life cycle -------------------------------------------------------------------------

    def stop(self) -> None:
        """Disconnect from the broker; requests that were not sent are kept for the next `serve`.

        Calls that wait go on waiting until their timeouts, and get their results if `serve` is
        called before. Calls without a timeout end with `NoResult`, or with `Backlogged` where they
        wait for room in the outbox. Takes a few seconds at most.
        """
        self._try_again_at = math.inf
        super().stop()

    def _begin(self) -> None:
        # A short program may connect as late as when it exits. gevent looks up the broker's name in threads, one for
        # each connection: they must exist by then, as an interpreter that exits starts no threads (Python 3.12), and
        # does not even import what makes them (3.9).
        threads = gevent.get_hub().threadpool
        threads.size = max(threads.size, 2)

    def _stop(self) -> None:
        super()._stop()
        self._calls.end_endless()
        self._casts.end_waiting(only_endless=True)

    def _pending_count(self) -> Callable[[], int]:
        return self._calls.count_pending

    def _fail_pending(self, error: BrokerError) -> None:
        self._try_again_at = monotonic() + _TRY_AGAIN if isinstance(error, TopologyConflict) else math.inf
        self._calls.fail_all(error)

    def _try_again(self) -> None:
        """Connect again where the conflict that ended `serve` may be gone; raise the error that ended it otherwise."""
        if self._failure is None and not self._forked:
            return
        if monotonic() >= self._try_again_at:
            self._try_again_at = math.inf
            self.serve()
        self._raise_failure()
