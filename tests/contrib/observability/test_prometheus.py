"""Metrics: what Prometheus reads of clients and servers."""

from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from amphora import AmqpRpcClient, AmqpRpcServer, NoResult, RemoteException
from amphora.contrib.prometheus import Metrics
from tests.support.eventually import wait_until


class Scrape:
    """Reads a registry as Prometheus does."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def __call__(self, name: str, **labels: str) -> float:
        families = text_string_to_metric_families(generate_latest(self._registry).decode())
        samples = [sample for family in families for sample in family.samples if sample.name == name]
        return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> Metrics:
    return Metrics(registry)


@pytest.fixture
def scrape(registry: CollectorRegistry) -> Scrape:
    return Scrape(registry)


def test_runs_and_calls_are_counted_by_function_and_end(
    metrics: Metrics, scrape: Scrape, server: AmqpRpcServer, client: AmqpRpcClient, service: str, unique_name: Any
) -> None:
    assert metrics.watch(server) is server
    metrics.watch(client)
    nobody = unique_name("nobody")
    client.create_new_request_queue(nobody)

    client.call.add(1, 2)
    client.call.add(3, 4)
    client.call.ignore_once()
    with pytest.raises(RemoteException):
        client.call.fail()
    with pytest.raises(NoResult):
        client.call(timeout=0.01, routing_key=nobody).add(1, 2)

    def calls(function: str, outcome: str) -> float:
        return scrape("amphora_client_calls_total", service=service, function=function, outcome=outcome)

    def runs(function: str, outcome: str) -> float:
        return scrape("amphora_server_requests_total", service=service, function=function, outcome=outcome)

    wait_until(lambda: calls("add", "no_result") == 1, 30)
    assert (calls("add", "ok"), calls("fail", "remote_error"), calls("ignore_once", "ok")) == (2, 1, 1)
    assert (runs("add", "ok"), runs("fail", "error"), runs("ignore_once", "ignored"), runs("ignore_once", "ok")) == (
        2,
        1,
        1,
        1,
    )
    assert scrape("amphora_server_redelivered_total", function="ignore_once") == 1
    assert scrape("amphora_server_request_seconds_count", function="add") == 2
    assert scrape("amphora_client_call_seconds_count", function="add") == 3


def test_what_has_not_happened_to_a_function_that_ran_is_counted_as_none(
    metrics: Metrics, registry: CollectorRegistry, server: AmqpRpcServer, client: AmqpRpcClient, service: str
) -> None:
    metrics.watch(server)

    client.call.add(1, 2)

    labels = {"service": service, "function": "add"}
    wait_until(lambda: registry.get_sample_value("amphora_server_requests_total", {**labels, "outcome": "ok"}) == 1, 30)
    assert registry.get_sample_value("amphora_server_requests_total", {**labels, "outcome": "error"}) == 0
    assert registry.get_sample_value("amphora_server_redelivered_total", labels) == 0


def test_what_endpoints_count_themselves_is_read_when_prometheus_asks(
    metrics: Metrics, scrape: Scrape, server: AmqpRpcServer, client: AmqpRpcClient, service: str
) -> None:
    metrics.watch(server)
    metrics.watch(client)
    client.call.add(1, 2)

    assert scrape("amphora_server_connected", service=service) == 1
    assert scrape("amphora_client_connected", service=service) == 1
    assert scrape("amphora_client_blocked", service=service) == 0
    assert scrape("amphora_server_reconnects_total", service=service) == 0
    wait_until(lambda: scrape("amphora_server_running", service=service) == 0, 30)
    assert scrape("amphora_client_pending", service=service) == 0

    server.stop()

    assert scrape("amphora_server_connected", service=service) == 0


def test_the_time_to_confirm_is_a_histogram_of_requests_and_of_replies(
    metrics: Metrics, scrape: Scrape, server: AmqpRpcServer, client: AmqpRpcClient, service: str
) -> None:
    metrics.watch(server)
    metrics.watch(client)
    client.call.add(1, 2)
    client.call.add(1, 2)
    wait_until(lambda: (server.confirm_times().count, client.confirm_times().count) == (2, 2), 30)

    for kind, endpoint in (("server", server), ("client", client)):
        name = f"amphora_{kind}_confirm_seconds"
        times = endpoint.confirm_times()
        assert scrape(f"{name}_count", service=service) == 2
        assert scrape(f"{name}_sum", service=service) == pytest.approx(times.total)
        assert scrape(f"{name}_bucket", service=service, le="+Inf") == 2
        assert scrape(f"{name}_bucket", service=service, le="0.001") == times.up_to(0.001)


def test_several_endpoints_of_one_service_are_added_up(
    metrics: Metrics, scrape: Scrape, server: AmqpRpcServer, client: AmqpRpcClient, service: str
) -> None:
    metrics.watch(client)
    with metrics.watch(AmqpRpcClient(service, broker_url="memory://")) as other:
        assert client.wait_connected(30)
        assert other.wait_connected(30)

        assert scrape("amphora_client_connected", service=service) == 2
        client.call.add(1, 2)
        other.call.add(1, 2)
        wait_until(lambda: scrape("amphora_client_confirm_seconds_count", service=service) == 2, 30)


def test_endpoints_that_are_not_made_yet_are_not_made_by_being_asked(metrics: Metrics, scrape: Scrape) -> None:
    class StandIn:
        made = False

        def call(self) -> None: ...

        def add_middleware(self, middleware: Any) -> Any:
            return middleware

        def __getattr__(self, name: str) -> Any:
            pytest.fail(f"{name} was asked for")

    metrics.watch(StandIn())

    assert scrape("amphora_client_connected") == 0


def test_only_endpoints_can_be_watched(metrics: Metrics) -> None:
    with pytest.raises(TypeError, match="only clients and servers can be watched, not 5"):
        metrics.watch(5)
