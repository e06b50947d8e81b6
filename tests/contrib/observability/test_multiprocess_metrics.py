"""Metrics of several processes, collected by prometheus-client from its files (PROMETHEUS_MULTIPROC_DIR)."""

import struct
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from amphora import AmqpRpcClient
from amphora.contrib.multiprocess_metrics import WrittenMetrics
from tests.conftest import StartProgram
from tests.support.broker import Broker
from tests.support.eventually import wait_until

PROGRAM = Path(__file__).with_name("measured_server.py")

#: Seconds. A busy machine takes its time to start a process.
PATIENCE = 60.0


def collected(directory: Path) -> dict[str, float]:
    """Return the values of all samples without a function, as the page of several processes shows them."""
    try:
        families = list(MultiProcessCollector(None, str(directory)).collect())
    except struct.error as error:
        raise AssertionError("a file is only just being made") from error
    return {
        sample.name: sample.value
        for family in families
        for sample in family.samples
        if set(sample.labels) == {"service"}
    }


def test_gauges_and_counters_of_all_processes_are_added_up(
    start_program: StartProgram, broker: Broker, service: str, tmp_path: Path
) -> None:
    environment = {"SERVICE": service, "BROKER": broker.url, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    first, second = (start_program(PROGRAM, env=environment) for _ in range(2))

    wait_until(lambda: collected(tmp_path).get("amphora_server_connected") == 2, PATIENCE)
    with AmqpRpcClient(service, broker_url=broker.url, timeout=PATIENCE) as client:
        assert client.call.add(1, 2) == 3
        with pytest.raises(Exception, match="nothing"):
            client.call.nothing()
    wait_until(lambda: collected(tmp_path).get("amphora_server_wrong_requests_total") == 1, PATIENCE)
    seen = collected(tmp_path)
    assert {"amphora_server_running", "amphora_server_outbox", "amphora_server_blocked"} <= set(seen)
    assert seen["amphora_server_reconnects_total"] == 0

    assert first.terminate(PATIENCE) == 0
    mark_process_dead(first.pid, str(tmp_path))

    assert collected(tmp_path)["amphora_server_connected"] == 1
    assert collected(tmp_path)["amphora_server_wrong_requests_total"] == 1
    assert second.terminate(PATIENCE) == 0


def test_a_counter_of_an_endpoint_that_was_made_anew_goes_on() -> None:
    registry, values = CollectorRegistry(), [5.0, 7.0, 2.0]
    written = WrittenMetrics({}, {"errors": "Errors"}, lambda: [("errors", "shop", values.pop(0))], registry)

    for _ in range(3):
        written.write()

    assert registry.get_sample_value("errors_total", {"service": "shop"}) == 9.0
