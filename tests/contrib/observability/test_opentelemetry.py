"""Traces: one span for a call, one for its run, in one trace."""

from collections.abc import Callable, Iterator
from contextvars import copy_context
from typing import Any

import gevent
import pytest
from gevent.event import AsyncResult, Event
from opentelemetry import baggage, context, trace
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv._incubating.attributes import messaging_attributes, rpc_attributes
from opentelemetry.semconv.attributes import server_attributes
from opentelemetry.trace import SpanKind, StatusCode

from amphora import (
    AmqpRpcClient,
    AmqpRpcFanoutClient,
    AmqpRpcFanoutServer,
    AmqpRpcServer,
    OutgoingRequest,
    RemoteException,
    WrongRequest,
    current_request,
)
from amphora.contrib.opentelemetry import instrument
from tests.support.broker import Broker
from tests.support.eventually import wait_until

NewSpans = Callable[[int], list[ReadableSpan]]


def span_of(span: ReadableSpan) -> int:
    assert span.context is not None
    return span.context.span_id


def trace_of(span: ReadableSpan) -> int:
    assert span.context is not None
    return span.context.trace_id


def parent_of(span: ReadableSpan) -> int:
    assert span.parent is not None
    return span.parent.span_id


@pytest.fixture
def provider() -> TracerProvider:
    return TracerProvider()


@pytest.fixture
def ended(provider: TracerProvider) -> Iterator[NewSpans]:
    """Wait for so many spans; return them in the order of their beginning."""
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))

    def wait(count: int) -> list[ReadableSpan]:
        wait_until(lambda: len(exporter.get_finished_spans()) >= count, 30)
        assert len(exporter.get_finished_spans()) == count
        return sorted(exporter.get_finished_spans(), key=lambda span: span.start_time or 0)

    yield wait
    provider.shutdown()


@pytest.fixture
def traced(provider: TracerProvider, server: AmqpRpcServer, client: AmqpRpcClient) -> AmqpRpcClient:
    instrument(server, provider)
    return instrument(client, provider)


def test_a_call_and_its_run_are_in_the_caller_s_trace(
    provider: TracerProvider, traced: AmqpRpcClient, ended: NewSpans, service: str
) -> None:
    with provider.get_tracer("test").start_as_current_span("view"):
        assert traced.call.add(1, 2) == 3

    view, call, run = ended(3)
    assert (call.name, call.kind, run.name, run.kind) == (
        f"{service}/add",
        SpanKind.CLIENT,
        f"{service}/add",
        SpanKind.SERVER,
    )
    assert parent_of(call) == span_of(view)
    assert parent_of(run) == span_of(call)
    assert len({trace_of(each) for each in (view, call, run)}) == 1
    assert run.status.status_code == call.status.status_code == StatusCode.UNSET


def test_attributes_are_those_of_the_conventions(
    provider: TracerProvider, ended: NewSpans, broker: Broker, service: str
) -> None:
    with (
        AmqpRpcServer(service, broker_url=broker.url) as server,
        AmqpRpcClient(service, broker_url=broker.url, timeout=30) as client,
    ):
        server.add_function(lambda: None, "text.note")
        instrument(server, provider)
        instrument(client, provider)

        client.call.text.note()
        client.create_new_request_queue(f"{service}_label", routing_key="Alice")
        server.receive_from_queue(f"{service}_label", block=False)
        client.call(routing_key="Alice").text.note()
        call, run, by_key, _ = ended(4)

    both = {
        rpc_attributes.RPC_SYSTEM_NAME: "amphora",
        rpc_attributes.RPC_METHOD: f"{service}/text.note",
        messaging_attributes.MESSAGING_SYSTEM: messaging_attributes.MessagingSystemValues.RABBITMQ.value,
        messaging_attributes.MESSAGING_DESTINATION_NAME: f"rpc_{service}_request",
        server_attributes.SERVER_ADDRESS: "127.0.0.1",
        server_attributes.SERVER_PORT: broker.port,
    }
    kinds = messaging_attributes.MessagingOperationTypeValues
    for span, kind in ((call, kinds.SEND), (run, kinds.PROCESS)):
        assert span.attributes is not None
        attributes = dict(span.attributes)
        assert attributes.pop(messaging_attributes.MESSAGING_MESSAGE_ID)
        named = (messaging_attributes.MESSAGING_OPERATION_NAME, messaging_attributes.MESSAGING_OPERATION_TYPE)
        assert attributes == {**both, **dict.fromkeys(named, kind.value)}
    assert call.attributes is not None
    assert run.attributes is not None
    message_id = messaging_attributes.MESSAGING_MESSAGE_ID
    assert call.attributes[message_id] == run.attributes[message_id]
    assert by_key.attributes is not None
    assert by_key.attributes[messaging_attributes.MESSAGING_RABBITMQ_DESTINATION_ROUTING_KEY] == "Alice"
    assert by_key.attributes[messaging_attributes.MESSAGING_DESTINATION_NAME] == f"rpc_{service}_request:Alice"


def test_calls_that_a_function_makes_are_its_children(
    traced: AmqpRpcClient, server: AmqpRpcServer, ended: NewSpans
) -> None:
    server.add_function(lambda: traced.call.add(1, 2), "outer")

    assert traced.call.outer() == 3

    outer, run, inner, _ = ended(4)
    assert parent_of(inner) == span_of(run)
    assert trace_of(inner) == trace_of(outer)


def test_an_error_is_in_both_spans_by_its_remote_name(traced: AmqpRpcClient, ended: NewSpans) -> None:
    with pytest.raises(RemoteException):
        traced.call.fail()

    for span in ended(2):
        assert span.attributes is not None
        assert span.attributes["error.type"] == "ValueError"
        assert span.status.status_code == StatusCode.ERROR
    call, run = ended(2)
    assert (call.status.description, run.status.description) == ("ValueError: on purpose", "on purpose")
    assert [event.name for event in run.events] == ["exception"]
    assert call.events == ()


def test_what_no_function_ran_for_is_in_the_call_s_span(traced: AmqpRpcClient, ended: NewSpans) -> None:
    with pytest.raises(WrongRequest):
        traced.call.no_such_function()

    [call] = ended(1)
    assert call.attributes is not None
    assert call.attributes["error.type"] == "WrongRequest"


def test_a_run_for_a_request_that_came_again_is_linked_to_the_call(traced: AmqpRpcClient, ended: NewSpans) -> None:
    assert traced.call.ignore_once() == "taken"

    call, first, second = ended(3)
    assert first.attributes is not None
    assert second.attributes is not None
    assert first.attributes["amphora.ignored"] is True
    assert second.attributes["amphora.redelivered"] is True
    assert [link.context.span_id for link in second.links] == [span_of(call)]
    assert first.links == ()


def test_a_server_begins_a_trace_where_the_client_has_none(
    provider: TracerProvider, server: AmqpRpcServer, client: AmqpRpcClient, ended: NewSpans
) -> None:
    instrument(server, provider)

    client.call.add(1, 2)

    [run] = ended(1)
    assert run.parent is None


def test_the_span_of_a_call_that_is_given_up_ends(
    traced: AmqpRpcClient, server: AmqpRpcServer, ended: NewSpans
) -> None:
    begun, let_go = Event(), Event()

    @server.add_function
    def hold() -> None:
        begun.set()
        assert let_go.wait(30)

    caller = gevent.spawn(traced.call.hold)
    assert begun.wait(30)
    caller.kill()

    [call] = ended(1)
    assert call.attributes is not None
    assert call.attributes["error.type"] == "NoResult"
    let_go.set()
    ended(2)


def test_an_exporter_that_waits_does_not_stop_the_event_loop(
    provider: TracerProvider, traced: AmqpRpcClient, ended: NewSpans
) -> None:
    class Slow(SimpleSpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            gevent.sleep(0.001)

    provider.add_span_processor(Slow(InMemorySpanExporter()))

    assert [traced.call.add(number, 1) for number in range(5)] == [1, 2, 3, 4, 5]

    ended(10)


def test_a_function_s_own_spans_are_in_the_trace(
    provider: TracerProvider, traced: AmqpRpcClient, server: AmqpRpcServer, ended: NewSpans
) -> None:
    seen: AsyncResult[Any] = AsyncResult()
    server.add_function(lambda: seen.set(trace.get_current_span().get_span_context()), "look")

    traced.call.look()

    assert seen.get(timeout=30) == ended(2)[1].context
    assert not trace.get_current_span().get_span_context().is_valid


def test_only_endpoints_can_be_traced() -> None:
    with pytest.raises(TypeError, match="only clients and servers can be traced, not 'math'"):
        instrument("math")


def test_baggage_reaches_the_function_and_the_calls_that_it_makes(traced: AmqpRpcClient, server: AmqpRpcServer) -> None:
    server.add_function(lambda: baggage.get_baggage("user"), "user")
    server.add_function(lambda: [baggage.get_baggage("user"), traced.call.user()], "outer")
    token = context.attach(baggage.set_baggage("user", "Alice"))

    try:
        assert traced.call.outer() == ["Alice", "Alice"]
    finally:
        context.detach(token)
    assert traced.call.user() is None


def test_no_call_fails_for_too_much_baggage(
    provider: TracerProvider, traced: AmqpRpcClient, server: AmqpRpcServer, ended: NewSpans
) -> None:
    server.add_function(lambda: sorted(current_request().headers), "headers")  # type: ignore[union-attr]
    token = context.attach(baggage.set_baggage("essay", "x" * 4000))

    try:
        assert traced.call.headers() == ["traceparent"]
    finally:
        context.detach(token)
    call, run = ended(2)
    assert parent_of(run) == span_of(call)


@pytest.mark.parametrize("value", [1, None, True, "", "no trace", "00-" + "0" * 32 + "-" + "0" * 16 + "-01"])
def test_headers_that_are_no_trace_begin_one(
    provider: TracerProvider, server: AmqpRpcServer, client: AmqpRpcClient, ended: NewSpans, value: Any
) -> None:
    @client.add_middleware
    def lie(request: OutgoingRequest, send: Any) -> Any:
        request.headers.update(traceparent=value, tracestate=value, baggage=value)
        return send()

    instrument(server, provider)

    assert client.call.add(1, 2) == 3

    [run] = ended(1)
    assert run.parent is None


def test_calls_are_not_traced_where_the_program_suppresses_that(traced: AmqpRpcClient, ended: NewSpans) -> None:
    with suppress_instrumentation():
        traced.call.add(1, 2)

    # The function begins a trace: it knows of none.
    [run] = ended(1)
    assert (run.kind, run.parent) == (SpanKind.SERVER, None)


def test_what_is_instrumented_twice_has_one_span_for_each_call(
    provider: TracerProvider, traced: AmqpRpcClient, server: AmqpRpcServer, ended: NewSpans
) -> None:
    instrument(traced, provider)
    instrument(server, provider)
    server.add_function(lambda: traced.call.add(1, 2), "outer")

    assert traced.call.outer() == 3

    assert [span.kind for span in ended(4)] == [SpanKind.CLIENT, SpanKind.SERVER] * 2


def test_a_result_that_is_waited_for_later_is_in_the_trace_of_its_call(
    provider: TracerProvider, traced: AmqpRpcClient, ended: NewSpans
) -> None:
    tracer = provider.get_tracer("test")
    with tracer.start_as_current_span("view"):
        result = traced.defer.add(1, 2)
    with tracer.start_as_current_span("later"):
        assert result.get(timeout=30) == 3

    view, *others = ended(4)
    call, run = (span for span in others if span.name != "later")
    assert parent_of(call) == span_of(view)
    assert parent_of(run) == span_of(call)


def test_calls_of_greenlets_are_in_the_trace_where_they_take_the_context_along(
    provider: TracerProvider, traced: AmqpRpcClient, ended: NewSpans
) -> None:
    with provider.get_tracer("test").start_as_current_span("view"):
        greenlets = [gevent.spawn(copy_context().run, traced.call.add, number, 1) for number in range(3)]
        assert [greenlet.get(timeout=30) for greenlet in greenlets] == [1, 2, 3]
        # Without it, they begin traces of their own: a greenlet starts with an empty context.
        gevent.spawn(traced.call.add, 1, 1).get(timeout=30)

    view, *others = ended(9)
    calls = [span for span in others if span.kind is SpanKind.CLIENT]
    assert [each.parent and each.parent.span_id for each in calls] == [span_of(view)] * 3 + [None]


def test_what_a_middleware_hands_on_is_the_parent_where_nothing_else_is(
    provider: TracerProvider, server: AmqpRpcServer, client: AmqpRpcClient, ended: NewSpans
) -> None:
    @client.add_middleware
    def hand_on(request: OutgoingRequest, send: Any) -> Any:
        request.headers["traceparent"] = f"00-{'a' * 32}-{'b' * 16}-01"
        return send()

    instrument(client, provider)

    client.call.add(1, 2)
    with provider.get_tracer("test").start_as_current_span("view"):
        client.call.add(1, 2)

    received, view, own = ended(3)
    assert (trace_of(received), parent_of(received)) == (int("a" * 32, 16), int("b" * 16, 16))
    assert parent_of(own) == span_of(view)


def test_every_server_s_run_of_a_broadcast_is_a_child_of_the_call(
    provider: TracerProvider, ended: NewSpans, service: str
) -> None:
    servers = [AmqpRpcFanoutServer(service, broker_url="memory://") for _ in range(2)]
    for server in servers:
        server.add_function(lambda text: text, "announce")
        instrument(server, provider).serve()
        assert server.wait_connected(30)

    with AmqpRpcFanoutClient(service, broker_url="memory://", timeout=30) as client:
        instrument(client, provider).call.announce("Lunch!")

        call, *runs = ended(3)
    assert [parent_of(run) for run in runs] == [span_of(call)] * 2
    for server in servers:
        server.stop()


def test_a_timeout_of_gevent_s_is_an_error_of_the_function(
    traced: AmqpRpcClient, server: AmqpRpcServer, ended: NewSpans
) -> None:
    @server.add_function
    def hang() -> None:
        with gevent.Timeout(0.001):
            Event().wait(30)

    with pytest.raises(RemoteException):
        traced.call.hang()

    for span in ended(2):
        assert span.attributes is not None
        assert (span.attributes["error.type"], span.status.status_code) == ("Timeout", StatusCode.ERROR)


def test_texts_of_others_can_be_exported(
    traced: AmqpRpcClient, server: AmqpRpcServer, ended: NewSpans, service: str
) -> None:
    error = type("Bad" + "x" * 10_000, (Exception,), {})

    def explode(text: str) -> None:
        raise error(text)

    server.add_function(explode)
    with pytest.raises(RemoteException):
        traced.call.explode("\udfff" + "y" * 1_000_000)

    for span in ended(2):
        texts = [span.name, span.status.description or ""]
        for attributes in (span.attributes, *(event.attributes for event in span.events)):
            texts += [value for value in (attributes or {}).values() if isinstance(value, str)]
        for text in texts:
            # One that cannot be encoded would keep a whole batch from its collector.
            assert len(text.encode()) < 40_000
        assert str((span.attributes or {})["error.type"]).startswith("Badxxx")
