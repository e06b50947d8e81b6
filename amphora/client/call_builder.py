"""A client's way from a call and its options to a request: its routing key, its deadline, the middleware."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic
from typing import Any

from gevent.event import AsyncResult

from amphora.client.call_tracker import CallTracker
from amphora.client.caller import CallOptions
from amphora.client.casts import Casts
from amphora.client.lifetimes import Lifetime, lifetime_of
from amphora.client.middleware import ClientMiddleware, OutgoingRequest, send_through
from amphora.core.calls import PendingCall
from amphora.endpoint.current_request import deadline_limit, running_request
from amphora.protocol.headers import check_headers
from amphora.protocol.names import check_routing_key
from amphora.protocol.routing import Router
from amphora.value_checks import timeout_of

__all__ = ["CallBuilder"]


class CallBuilder:
    """Makes the calls of `AmqpRpcClient.call`, `AmqpRpcClient.defer` and `AmqpRpcClient.cast`.

    Args:
        calls: Sends the requests.
        casts: Sends those that get no reply.
        router: Gives the routing keys of calls that are given none.
        middleware: What runs around the sending of each; the client adds to it.
        timeout: Seconds that a call may take that is not told; None for no limit.
        check: Raises where the client can make no calls.
    """

    def __init__(
        self,
        calls: CallTracker,
        casts: Casts,
        router: Router,
        middleware: Sequence[ClientMiddleware],
        *,
        timeout: float | None,
        check: Callable[[], None],
    ) -> None:
        self._calls = calls
        self._casts = casts
        self._router = router
        self._middleware = middleware
        self._timeout = timeout
        self._check = check

    def call(self, function: str, options: CallOptions, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a remote function and wait for its result."""
        call = self._send(function, options, args, kwargs, wait_publish=False)
        try:
            return call.result.get()
        except BaseException:
            # The caller's own gevent.Timeout or kill: the reply is no longer awaited.
            self._calls.forget(call)
            raise

    def defer(
        self, function: str, options: CallOptions, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> AsyncResult[Any]:
        """Call a remote function, and wait until the broker has the request unless ``wait_publish`` says no."""
        wait_publish = options.get("wait_publish", True)
        call = self._send(function, options, args, kwargs, wait_publish=wait_publish)
        if call.decided is not None:
            try:
                call.decided.wait()
            except BaseException:
                # See `call`: the result is not returned.
                self._calls.forget(call)
                raise
            if call.refused is not None:
                raise call.refused
        result: AsyncResult[Any] = call.result
        return result

    def cast(self, function: str, options: CallOptions, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Send a request that gets no reply, and wait until the broker has it unless ``wait_publish`` says no."""
        routing_key, lifetime = self._prepare(function, options, args, kwargs)
        wait, casts, timeout = options.get("wait_publish", True), self._casts, lifetime[0]
        deadline = None if timeout is None else monotonic() + timeout
        send = partial(
            casts.send,
            function,
            args,
            kwargs,
            lifetime=lifetime,
            routing_key=routing_key,
            awaited=wait,
            legacy=bool(options.get("legacy", False)),
        )
        if not self._middleware:
            cast = send(watched=wait)
        else:
            request = OutgoingRequest(function, args, kwargs, routing_key, one_way=True)
            cast = send_through(
                self._middleware,
                request,
                send=lambda each: send(watched=True, headers=check_headers(each.headers)),
                forget=casts.forget,
            )
        if wait:
            casts.wait(cast, deadline)

    def _send(
        self,
        function: str,
        options: CallOptions,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        wait_publish: bool,
    ) -> PendingCall:
        routing_key, lifetime = self._prepare(function, options, args, kwargs)
        if not self._middleware:
            return self._calls.send(
                function, args, kwargs, lifetime=lifetime, routing_key=routing_key, wait_publish=wait_publish
            )

        def send(request: OutgoingRequest) -> PendingCall:
            return self._calls.send(
                function,
                args,
                kwargs,
                lifetime=lifetime,
                routing_key=routing_key,
                wait_publish=wait_publish,
                headers=check_headers(request.headers),
            )

        request = OutgoingRequest(function, args, kwargs, routing_key)
        return send_through(self._middleware, request, send=send, forget=self._calls.forget)

    def _prepare(
        self, function: str, options: CallOptions, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[str, Lifetime]:
        """Return the routing key and the lifetime of a request."""
        self._check()
        timeout = self._timeout
        if "timeout" in options:
            timeout = timeout_of(options["timeout"])
        routing_key = options.get("routing_key")
        if routing_key is not None:
            check_routing_key(routing_key)
        elif function in self._router.tuning:
            routing_key = self._router.routing_key(function, args, kwargs)
        else:
            routing_key = ""
        lifetime: Lifetime = timeout, None
        if "expires" in options or running_request.get() is not None or deadline_limit.get() is not None:
            lifetime = lifetime_of(function, timeout, options.get("expires"))
        return routing_key, lifetime
