"""Traces: a span for each call and one for each run of a remote function, by OpenTelemetry.

Names and attributes are those of OpenTelemetry's conventions for RPC, and those for messaging where they say more:
https://opentelemetry.io/docs/specs/semconv/rpc/rpc-spans/ and
https://opentelemetry.io/docs/specs/semconv/messaging/rabbitmq/. The context travels in the headers that
https://www.w3.org/TR/trace-context/ has, or those of the propagator that the program has set.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import gevent
from gevent.event import AsyncResult
from opentelemetry import propagate, trace
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, Tracer, TracerProvider

from amphora import CurrentRequest, IgnoreRequest, OutgoingRequest, RemoteException, __version__

__all__ = ["instrument"]

Endpoint = TypeVar("Endpoint")

_SYSTEM = "amphora"


def instrument(endpoint: Endpoint, tracer_provider: TracerProvider | None = None) -> Endpoint:
    """Trace the calls of a client, or the functions of a server.

    ::

        instrument(client)
        instrument(server)

    A call begins a span of kind CLIENT, a child of the caller's; it ends with the reply, or with the error that the
    caller gets, or when the caller is ended. A function runs in a span of kind SERVER, a child of the call's; where a
    client traces nothing, it begins a trace. Where the broker has delivered the request before, the span is linked to
    the call's, with the attribute ``amphora.redelivered``: another run for the same call may be in the trace.

    Args:
        endpoint: A client or a server, or what stands for one in Django and Celery; it need not be connected.
        tracer_provider: Of the spans; by default the program's.

    Returns:
        The endpoint.

    Raises:
        TypeError: It is neither.
    """
    tracer = trace.get_tracer("amphora", __version__, tracer_provider)
    cls = type(endpoint)
    if hasattr(cls, "call"):
        endpoint.add_middleware(_around_calls(endpoint, tracer))  # type: ignore[attr-defined]
    elif hasattr(cls, "add_function"):
        endpoint.add_middleware(_around_functions(endpoint, tracer))  # type: ignore[attr-defined]
    else:
        raise TypeError(f"only clients and servers can be traced, not {endpoint!r}")
    return endpoint


def _around_calls(client: Any, tracer: Tracer) -> Callable[..., Any]:
    def trace_call(request: OutgoingRequest, send: Callable[[], AsyncResult[Any]]) -> AsyncResult[Any]:
        service = client.service_name
        attributes = _attributes(service, request.function)
        if request.routing_key:
            attributes["messaging.rabbitmq.destination.routing_key"] = request.routing_key
        span = tracer.start_span(f"{service}/{request.function}", kind=SpanKind.CLIENT, attributes=attributes)
        try:
            propagate.inject(request.headers, trace.set_span_in_context(span))
            result = send()
        except BaseException as error:
            _end_with(span, error)
            raise
        # What exports spans may wait, which the event loop that tells of a result must not.
        result.rawlink(lambda done: gevent.spawn(_end_call, span, done))
        return result

    return trace_call


def _end_call(span: Span, done: AsyncResult[Any]) -> None:
    if done.exception is None:
        span.end()
    else:
        _end_with(span, done.exception)


def _around_functions(server: Any, tracer: Tracer) -> Callable[..., Any]:
    def trace_function(request: CurrentRequest, call: Callable[[], Any]) -> Any:
        service = server.service_name
        context = propagate.extract(request.headers)
        attributes = _attributes(service, request.function)
        if request.id is not None:
            attributes["messaging.message.id"] = request.id
        links = []
        if request.redelivered:
            caller = trace.get_current_span(context).get_span_context()
            links = [Link(caller, {"amphora.redelivered": True})] if caller.is_valid else []
            attributes["amphora.redelivered"] = True
        span = tracer.start_span(
            f"{service}/{request.function}", context=context, kind=SpanKind.SERVER, attributes=attributes, links=links
        )
        # `use_span` itself would take no note of what is no `Exception`: a timeout of gevent's is none.
        with trace.use_span(span, end_on_exit=False, record_exception=False, set_status_on_exception=False):
            try:
                result = call()
            except IgnoreRequest:
                span.set_attribute("amphora.ignored", True)
                span.end()
                raise
            except BaseException as error:
                span.record_exception(error)
                _end_with(span, error)
                raise
        span.end()
        return result

    return trace_function


def _attributes(service: str, function: str) -> dict[str, Any]:
    return {
        "rpc.system": _SYSTEM,
        "rpc.service": service,
        "rpc.method": function,
        "messaging.system": "rabbitmq",
    }


def _end_with(span: Span, error: BaseException) -> None:
    kind = error.error_type if isinstance(error, RemoteException) else type(error).__qualname__
    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR, str(error)))
    span.end()
