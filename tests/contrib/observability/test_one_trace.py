"""One trace from a view of Django's to a task of Celery's and back, as `opentelemetry-instrument` makes it."""

import json
import re
import sys
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from port_for import get_port

from tests.conftest import StartProgram
from tests.support.broker import Broker
from tests.support.eventually import wait_until
from tests.support.processes import ROOT, Program

PROJECT = ROOT / "tests" / "contrib" / "celery" / "django_project"

COMMAND = Path(sys.executable).with_name("opentelemetry-instrument")

#: Seconds. A busy machine takes its time to start a process.
PATIENCE = 60.0

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"

Span = dict[str, Any]


def spans_of(programs: Iterable[Program]) -> list[Span]:
    """Return the spans of the trace that programs have written, as OpenTelemetry's console exporter shows them."""
    shown = "\n".join(program.output for program in programs)
    spans = [json.loads(block) for block in re.findall(r"^\{\n.*?^\}$", shown, re.DOTALL | re.MULTILINE)]
    return [span for span in spans if span["context"]["trace_id"] == f"0x{TRACE}"]


def path_of(span: Span, spans: Sequence[Span]) -> list[str]:
    """Return the names of a span and of those above it, from the outermost, each with its kind."""
    by_id = {each["context"]["span_id"]: each for each in spans}
    path: list[str] = []
    parent: str | None = span["context"]["span_id"]
    while parent is not None and parent != f"0x{CALLER}":
        each = by_id[parent]
        path.insert(0, f"{each['name']} {each['kind'].partition('.')[2]}")
        parent = each["parent_id"]
    return path


def test_view_call_handler_and_task_are_in_one_trace(
    start_program: StartProgram, broker: Broker, service: str, tmp_path: Path, unique_name: Callable[[str], str]
) -> None:
    port = get_port(None)
    environment = {
        "PYTHONPATH": f"{ROOT}:{PROJECT}",
        "DJANGO_SETTINGS_MODULE": "store.settings",
        "STORE_BROKER": broker.url,
        "STORE_SERVICE": service,
        "STORE_DIRECTORY": str(tmp_path),
        "OTEL_TRACES_EXPORTER": "console",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    patched = {"OTEL_PYTHON_AUTO_INSTRUMENTATION_EXPERIMENTAL_GEVENT_PATCH": "patch_all"}

    def start(*arguments: object, env: dict[str, str]) -> Program:
        return start_program(COMMAND, sys.executable, *arguments, env={**environment, **env})

    def start_worker(queue: str, *pool: str, env: dict[str, str]) -> Program:
        alone = ("--without-gossip", "--without-mingle", "-n", f"{unique_name('worker')}@localhost")
        return start("-m", "celery", "-A", "store", "worker", "-l", "INFO", "-Q", queue, *pool, *alone, env=env)

    site = start(PROJECT / "manage.py", "runserver", "--noreload", f"127.0.0.1:{port}", env=patched)
    serving = start(PROJECT / "manage.py", "runserver_rpc", env=patched)
    packing = start_worker(service, "-P", "gevent", env=patched)
    # Its clients live in threads, in a process that is forked after OpenTelemetry has begun.
    labelling = start_worker(f"{service}_labels", "-P", "prefork", "-c", "1", env={})
    programs = [site, serving, packing, labelling]
    for worker in (packing, labelling):
        worker.wait_for_line("ready", PATIENCE)
    serving.wait_for_line("default: ready, taking requests", PATIENCE)
    site.wait_for_line("Starting development server", PATIENCE)

    request = urllib.request.Request(f"http://127.0.0.1:{port}/order/apple")
    request.add_header("traceparent", f"00-{TRACE}-{CALLER}-01")
    with urllib.request.urlopen(request, timeout=PATIENCE) as response:
        assert len(json.load(response)["tasks"]) == 2

    # Each of two tasks is sent, runs, and makes a call, which is answered.
    spans = wait_until(lambda: len(found := spans_of(programs)) == 3 + 2 * 4 and found, PATIENCE)
    handler = ["GET order/<str:item> SERVER", f"{service}/order CLIENT", f"{service}/order SERVER"]
    paths = []
    for task in ("stock.tasks.label", "stock.tasks.pack"):
        call = [*handler, f"apply_async/{task} PRODUCER", f"run/{task} CONSUMER", f"{service}/count CLIENT"]
        paths += [call, [*call, f"{service}/count SERVER"]]
    assert sorted(path_of(span, spans) for span in spans if span["name"] == f"{service}/count") == paths
    for program in programs:
        assert program.terminate(PATIENCE) in (0, -15)
        assert "Traceback" not in program.output
