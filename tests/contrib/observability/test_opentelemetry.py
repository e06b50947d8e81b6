"""Traces: one span for a call, one for its run, in one trace."""

from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
from gevent.event import AsyncResult, Event
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from amphora import AmqpRpcClient, AmqpRpcServer, RemoteException
from amphora.contrib.opentelemetry import instrument
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
    assert run.attributes is not None
    assert {name: run.attributes[name] for name in ("rpc.service", "rpc.method", "messaging.system")} == {
        "rpc.service": service,
        "rpc.method": "add",
        "messaging.system": "rabbitmq",
    }
    assert run.status.status_code == call.status.status_code == StatusCode.UNSET


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
    run = ended(2)[1]
    assert [event.name for event in run.events] == ["exception"]


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
