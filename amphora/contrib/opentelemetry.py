"""Traces: a span for each call and one for each run of a remote function, by OpenTelemetry.

Names and attributes are those of OpenTelemetry's conventions for RPC, and those for messaging where they say more:
https://opentelemetry.io/docs/specs/semconv/rpc/rpc-spans/ and
https://opentelemetry.io/docs/specs/semconv/messaging/rabbitmq/. The context travels in the headers that
https://www.w3.org/TR/trace-context/ has, or those of the propagator that the program has set.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, TypeVar
from urllib.parse import urlsplit

import gevent
from gevent.event import AsyncResult
from opentelemetry import context as contexts
from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, Tracer, TracerProvider

from amphora import CurrentRequest, IgnoreRequest, OutgoingRequest, RemoteException, __version__

__all__ = ["instrument"]

logger = logging.getLogger(__name__)

Endpoint = TypeVar("Endpoint")

_SYSTEM = "amphora"

#: Bytes of a request's headers that a trace may take, at most: half of all, the rest is the program's.
_ROOM = 1536

#: The most characters in a span of names and ids, of an error's message, and of its traceback.
_NAME, _MESSAGE, _STACKTRACE = 255, 4096, 16_384

#: Key in a context of what `opentelemetry.instrumentation.utils.suppress_instrumentation` sets.
_SUPPRESSED = "suppress_instrumentation"

#: What is being traced in this context: an endpoint that is instrumented twice still makes one span.
_sending: ContextVar[OutgoingRequest | None] = ContextVar("amphora_traced_call", default=None)
_running: ContextVar[CurrentRequest | None] = ContextVar("amphora_traced_request", default=None)


def instrument(
    endpoint: Endpoint, tracer_provider: TracerProvider | None = None, *, enabled: Callable[[], bool] | None = None
) -> Endpoint:
    """Trace the calls of a client, or the functions of a server.

    ::

        instrument(client)
        instrument(server)

    A call begins a span of kind CLIENT, a child of the caller's; it ends with the reply, or with the error that the
    caller gets, or when the caller is ended. A function runs in a span of kind SERVER, a child of the call's; where a
    client traces nothing, it begins a trace. Where the broker has delivered the request before, the span is linked to
    the call's, with the attribute ``amphora.redelivered``: another run for the same call may be in the trace.

    `amphora.contrib.opentelemetry_instrumentor.AmphoraInstrumentor` does it for all clients and servers that a program
    makes. An endpoint that is instrumented twice has one span for each call or run, by the first provider.

    Args:
        endpoint: A client or a server, or what stands for one in Django and Celery; it need not be connected.
        tracer_provider: Of the spans; by default the program's.
        enabled: Asked for each call or run whether to trace it; by default all are.

    Returns:
        The endpoint.

    Raises:
        TypeError: It is neither.
    """
    tracer = trace.get_tracer("amphora", __version__, tracer_provider)
    cls = type(endpoint)
    if hasattr(cls, "call"):
        endpoint.add_middleware(_around_calls(endpoint, tracer, enabled or _always))  # type: ignore[attr-defined]
    elif hasattr(cls, "add_function"):
        endpoint.add_middleware(_around_functions(endpoint, tracer, enabled or _always))  # type: ignore[attr-defined]
    else:
        raise TypeError(f"only clients and servers can be traced, not {endpoint!r}")
    return endpoint


def _always() -> bool:
    return True


def _around_calls(client: Any, tracer: Tracer, enabled: Callable[[], bool]) -> Callable[..., Any]:
    def trace_call(request: OutgoingRequest, send: Callable[[], AsyncResult[Any]]) -> AsyncResult[Any]:
        if _sending.get() is request or contexts.get_value(_SUPPRESSED) or not enabled():
            return send()
        attributes = _attributes(client, request.function)
        attributes["messaging.operation.name"] = attributes["messaging.operation.type"] = "send"
        if request.routing_key:
            attributes["messaging.destination.name"] += f":{_text(request.routing_key)}"
            attributes["messaging.rabbitmq.destination.routing_key"] = _text(request.routing_key)
        context = _callers_context(request.headers)
        kind = SpanKind.PRODUCER if request.one_way else SpanKind.CLIENT
        span = tracer.start_span(attributes["rpc.method"], context=context, kind=kind, attributes=attributes)
        mark = _sending.set(request)
        try:
            _inject(request.headers, trace.set_span_in_context(span, context))
            result = send()
        except BaseException as error:
            _end_with(span, error)
            raise
        finally:
            _sending.reset(mark)
        if request.id is not None:
            span.set_attribute("messaging.message.id", _text(request.id))
        # What exports spans may wait, which the event loop that tells of a result must not.
        result.rawlink(lambda done: gevent.spawn(_end_call, span, done))
        return result

    return trace_call


def _end_call(span: Span, done: AsyncResult[Any]) -> None:
    if done.exception is None:
        span.end()
    else:
        _end_with(span, done.exception)


def _around_functions(server: Any, tracer: Tracer, enabled: Callable[[], bool]) -> Callable[..., Any]:
    def trace_function(request: CurrentRequest, call: Callable[[], Any]) -> Any:
        if _running.get() == request or not enabled():
            return call()
        context = _extract(request.headers, Context())
        attributes = _attributes(server, request.function)
        attributes["messaging.operation.name"] = attributes["messaging.operation.type"] = "process"
        if request.id is not None:
            attributes["messaging.message.id"] = _text(request.id)
        links = []
        if request.redelivered:
            caller = trace.get_current_span(context).get_span_context()
            links = [Link(caller, {"amphora.redelivered": True})] if caller.is_valid else []
            attributes["amphora.redelivered"] = True
        span = tracer.start_span(
            attributes["rpc.method"], context=context, kind=SpanKind.SERVER, attributes=attributes, links=links
        )
        # (`use_span` would put aside the baggage, and take no note of what is no `Exception`, such as gevent.Timeout.)
        token = contexts.attach(trace.set_span_in_context(span, context))
        mark = _running.set(request)
        try:
            result = call()
        except IgnoreRequest:
            span.set_attribute("amphora.ignored", True)
            span.end()
            raise
        except BaseException as error:
            _record(span, error)
            _end_with(span, error)
            raise
        finally:
            _running.reset(mark)
            contexts.detach(token)
        span.end()
        return result

    return trace_function


def _attributes(endpoint: Any, function: str) -> dict[str, Any]:
    service = endpoint.service_name
    attributes = {
        "rpc.system.name": _SYSTEM,
        "rpc.method": _text(f"{service}/{function}"),
        "messaging.system": "rabbitmq",
        "messaging.destination.name": f"rpc_{service}_request",
    }
    broker = urlsplit(endpoint.current_broker)
    if broker.hostname:
        attributes["server.address"] = broker.hostname
        attributes["server.port"] = broker.port
    return attributes


def _callers_context(headers: Mapping[str, Any]) -> Context:
    """Return the context in which a call is made: the caller's, or what another middleware has received."""
    context = contexts.get_current()
    if trace.get_current_span(context).get_span_context().is_valid:
        return context
    return _extract(headers, context)


def _extract(headers: Mapping[str, Any], context: Context) -> Context:
    # Anybody may send a request. Propagators fail with other things than text, and what they take over is exported.
    text = {name: value for name, value in headers.items() if isinstance(value, str) and value == _encodable(value)}
    return propagate.extract(text, context)


def _inject(headers: dict[str, Any], context: Context) -> None:
    """Put a context into the headers, as far as there is room: no call may fail for it."""
    for name in propagate.get_global_textmap().fields:
        headers.pop(name, None)
    carrier: dict[str, str] = {}
    propagate.inject(carrier, context)
    room = _ROOM
    for name, value in carrier.items():
        size = len(name.encode()) + len(value.encode())
        if size > room:
            logger.debug("%s of %d bytes is too large for the headers of a request, and stays behind", name, size)
            continue
        headers[name] = value
        room -= size


def _end_with(span: Span, error: BaseException) -> None:
    kind = error.error_type if isinstance(error, RemoteException) else type(error).__qualname__
    span.set_attribute("error.type", _text(kind))
    span.set_status(Status(StatusCode.ERROR, _text(_told_by(error), _MESSAGE)))
    span.end()


def _record(span: Span, error: BaseException) -> None:
    """Note an exception in a span, as the SDK does, but with texts that every exporter takes."""
    trace_text = "".join(traceback.format_exception(error)) if span.is_recording() else ""
    attributes = {
        "exception.type": _text(f"{type(error).__module__}.{type(error).__qualname__}"),
        "exception.message": _text(_told_by(error), _MESSAGE),
        # Its end says what happened.
        "exception.stacktrace": _encodable(trace_text[-_STACKTRACE:]),
    }
    span.add_event("exception", attributes)


def _told_by(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as problem:  # noqa: BLE001  (an exception's own __str__ may raise anything)
        return f"{type(error).__qualname__} cannot be described: {type(problem).__name__}"


def _text(text: str, most: int = _NAME) -> str:
    """Return a text that every exporter takes: of bounded length, and without halves of surrogate pairs.

    One such half, which JSON and AMQP may bring, would keep a whole batch of spans from being encoded.
    """
    return _encodable(text if len(text) <= most else f"{text[: most - 1]}…")


def _encodable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
