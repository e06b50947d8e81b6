"""OpenTelemetry's instrumentor for Amphora: everything that a program makes is traced."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from amphora import AmqpRpcClient, AmqpRpcServer
from amphora.contrib.opentelemetry import instrument
from amphora.contrib.opentelemetry_instrumentor import AmphoraInstrumentor
from tests.conftest import StartProgram
from tests.support.eventually import wait_until

#: The command, in the environment of this Python.
COMMAND = Path(sys.executable).with_name("opentelemetry-instrument")

#: Spans go to the standard output, and nothing else goes anywhere.
TO_CONSOLE = {"OTEL_TRACES_EXPORTER": "console", "OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}

PATCH_FIRST = {"OTEL_PYTHON_AUTO_INSTRUMENTATION_EXPERIMENTAL_GEVENT_PATCH": "patch_all"}

PROGRAM = """
from gevent import monkey; monkey.patch_all()
from amphora import AmqpRpcClient, AmqpRpcServer

server = AmqpRpcServer("math", broker_url="memory://")
server.add_function(lambda x, y: x + y, "add")
with server, AmqpRpcClient("math", broker_url="memory://", timeout=30) as client:
    assert client.call.add(1, 2) == 3
"""


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def provider(exporter: InMemorySpanExporter) -> Iterator[TracerProvider]:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield provider
    provider.shutdown()


@pytest.fixture
def instrumentor(provider: TracerProvider) -> Iterator[AmphoraInstrumentor]:
    instrumentor = AmphoraInstrumentor()
    instrumentor.instrument(tracer_provider=provider)
    yield instrumentor
    if instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.uninstrument()


def new_server(service: str) -> AmqpRpcServer:
    server = AmqpRpcServer(service, broker_url="memory://")
    server.add_function(abs)
    return server


def new_client(service: str) -> AmqpRpcClient:
    return AmqpRpcClient(service, broker_url="memory://", timeout=30)


def test_what_is_made_from_now_on_is_traced_until_it_is_uninstrumented(
    exporter: InMemorySpanExporter, service: str, instrumentor: AmphoraInstrumentor, provider: TracerProvider
) -> None:
    with new_server(service), new_client(service) as client:
        assert client.call.abs(-1) == 1
        wait_until(lambda: len(exporter.get_finished_spans()) == 2, 30)

        instrumentor.uninstrument()
        with new_client(service) as later:
            assert later.call.abs(-2) == client.call.abs(-2) == 2
        # It may be had again, and only what is made then is traced.
        instrumentor.instrument(tracer_provider=provider)
        with new_client(service) as last:
            assert last.call.abs(-3) == 3
            wait_until(lambda: len(exporter.get_finished_spans()) == 3, 30)

    first, run, third = sorted(exporter.get_finished_spans(), key=lambda span: span.start_time or 0)
    assert {span.name for span in (first, run, third)} == {f"{service}/abs"}
    assert run.parent is not None
    assert first.context is not None
    assert run.parent.span_id == first.context.span_id


def test_what_is_also_instrumented_by_hand_has_one_span(
    exporter: InMemorySpanExporter, service: str, instrumentor: AmphoraInstrumentor, provider: TracerProvider
) -> None:
    with instrument(new_server(service), provider), instrument(new_client(service), provider) as client:
        client.call.abs(-1)
        wait_until(lambda: len(exporter.get_finished_spans()) == 2, 30)


@pytest.mark.parametrize("env", [{}, PATCH_FIRST], ids=["patched by the program", "patched before OpenTelemetry"])
# The distribution starts threads before the program lets gevent patch them: they end in threading.py.
@pytest.mark.expects_errors("threading.py.*\n(.*\n)*KeyError")
def test_a_program_is_traced_by_the_command_without_a_line_of_its_own(
    start_program: StartProgram, env: dict[str, str]
) -> None:
    program = start_program(COMMAND, sys.executable, "-c", PROGRAM, env={**TO_CONSOLE, **env})

    assert program.wait(100) == 0
    spans = [line for line in program.lines if '"name": "math/add"' in line]
    assert len(spans) == 2
    if env:
        # Otherwise threads that OpenTelemetry has begun before the patching may say something at the end.
        assert "Exception" not in program.output


def test_a_program_that_does_not_use_amphora_does_not_pay_for_it(start_program: StartProgram) -> None:
    shown = "import sys; print(sorted(each for each in sys.modules if each.partition('.')[0] in ('amphora', 'gevent')))"

    program = start_program(COMMAND, sys.executable, "-c", shown, env=TO_CONSOLE)

    assert program.wait(100) == 0
    assert program.output == "['amphora', 'amphora.contrib', 'amphora.contrib.opentelemetry_instrumentor']"
