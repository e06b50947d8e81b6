"""Metrics of clients and servers for Prometheus, by its own client library."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from time import monotonic
from typing import Any, TypeVar

from gevent.event import AsyncResult
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from amphora import (
    Backlogged,
    BrokerError,
    CurrentRequest,
    DeadLettered,
    IgnoreRequest,
    NoResult,
    OutgoingRequest,
    RemoteException,
    Unroutable,
    WrongRequest,
    WrongResult,
)
from amphora import Histogram as Durations
from amphora.contrib.multiprocess_metrics import WrittenMetrics, several_processes

__all__ = ["BUCKETS", "Metrics"]

Endpoint = TypeVar("Endpoint")
Sum = TypeVar("Sum", float, Durations)

#: Upper bounds of the histograms in seconds: a call over a near broker takes a millisecond, one may take minutes.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

#: The same of the histograms that endpoints count themselves: some of the bounds that those have.
_CONFIRM_BUCKETS = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0),
)

#: What a call ends with, by the exception that the caller gets; the first that fits.
_OUTCOMES: tuple[tuple[type[BaseException], str], ...] = (
    (RemoteException, "remote_error"),
    (NoResult, "no_result"),
    (WrongRequest, "wrong_request"),
    (WrongResult, "wrong_result"),
    (DeadLettered, "dead_lettered"),
    (Unroutable, "unroutable"),
    (Backlogged, "backlogged"),
    (BrokerError, "broker_error"),
    (BaseException, "other"),
)

#: Counts of `AmqpRpcServer.stats` that no label of a request tells, with what they mean.
_OF_SERVERS = {
    "wrong_requests": "Requests that could not be read, or named no function",
    "duplicates": "Requests that were known already and did not run again",
    "dead_lettered": "Requests that were given up after too many tries",
    "expired": "Requests that did not run because their deadline had passed",
    "untrusted": "Requests that were not signed, altered or too old",
    "dropped": "Unreadable requests without a reply address",
    "undeliverable": "Replies whose client was gone",
    "reconnects": "Connections that were made anew",
}

#: The same of `AmqpRpcClient.stats`.
_OF_CLIENTS = {
    "late_replies": "Replies to calls that had ended",
    "untrusted": "Replies that were not signed, or altered",
    "reconnects": "Connections that were made anew",
}


class Metrics:
    """Counts what clients and servers do.

    ::

        metrics = Metrics()
        metrics.watch(server)
        metrics.watch(client)
        prometheus_client.start_http_server(8000)

    Args:
        registry: Takes the metrics; by default the library's own.
        buckets: Upper bounds of the histograms in seconds.

    Raises:
        ValueError: The registry has such metrics already: one `Metrics` watches all endpoints of a process.
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY, *, buckets: Sequence[float] = BUCKETS) -> None:
        labels = ("service", "function")
        self._requests = Counter(
            "amphora_server_requests",
            "Runs of remote functions, by their end (ok, error, ignored)",
            (*labels, "outcome"),
            registry=registry,
        )
        self._redelivered = Counter(
            "amphora_server_redelivered",
            "Runs for requests that the broker had delivered before",
            labels,
            registry=registry,
        )
        self._request_seconds = Histogram(
            "amphora_server_request_seconds",
            "Seconds for which remote functions ran",
            labels,
            buckets=buckets,
            registry=registry,
        )
        self._calls = Counter(
            "amphora_client_calls",
            "Calls, by their end (ok, sent, remote_error, no_result, unroutable, ...)",
            (*labels, "outcome"),
            registry=registry,
        )
        self._call_seconds = Histogram(
            "amphora_client_call_seconds",
            "Seconds from a call to its end",
            labels,
            buckets=buckets,
            registry=registry,
        )
        self._endpoints = _Endpoints(only_histograms=several_processes())
        registry.register(self._endpoints)
        self._written: WrittenMetrics | None = None
        if several_processes():
            # Not called: the values that each process has written are collected.
            self._written = WrittenMetrics(_GAUGE_MEANINGS, _COUNTER_MEANINGS, self._endpoints.readings, registry)

    def watch(self, endpoint: Endpoint) -> Endpoint:
        """Count what a client or a server does from now on.

        Args:
            endpoint: A client or a server; it need not be connected.

        Returns:
            The endpoint.

        Raises:
            TypeError: It is neither.
        """
        cls = type(endpoint)
        if hasattr(cls, "call"):
            self._endpoints.clients.append(endpoint)
            endpoint.add_middleware(self._around_calls(endpoint))  # type: ignore[attr-defined]
        elif hasattr(cls, "add_function"):
            self._endpoints.servers.append(endpoint)
            endpoint.add_middleware(self._around_functions(endpoint))  # type: ignore[attr-defined]
        else:
            raise TypeError(f"only clients and servers can be watched, not {endpoint!r}")
        self._write()
        return endpoint

    def _write(self) -> None:
        """Where several processes are collected, write what endpoints count; in a process that was forked too."""
        if self._written is not None:
            self._written.start()

    def _around_functions(self, server: Any) -> Callable[[CurrentRequest, Callable[[], Any]], Any]:
        known: set[str] = set()

        def count(request: CurrentRequest, call: Callable[[], Any]) -> Any:
            self._write()
            labels = server.service_name, request.function
            if request.function not in known:
                known.add(request.function)
                self._begin_with_none(*labels)
            if request.redelivered:
                self._redelivered.labels(*labels).inc()
            outcome = "error"
            started = monotonic()
            try:
                result = call()
                outcome = "ok"
                return result
            except IgnoreRequest:
                outcome = "ignored"
                raise
            finally:
                self._request_seconds.labels(*labels).observe(monotonic() - started)
                self._requests.labels(*labels, outcome).inc()

        return count

    def _begin_with_none(self, *labels: str) -> None:
        """Let the counts of a function begin at 0: Prometheus takes no first value for an increase."""
        self._redelivered.labels(*labels)
        for outcome in ("ok", "error", "ignored"):
            self._requests.labels(*labels, outcome)

    def _around_calls(self, client: Any) -> Callable[[OutgoingRequest, Callable[[], AsyncResult[Any]]], Any]:
        def count(request: OutgoingRequest, send: Callable[[], AsyncResult[Any]]) -> AsyncResult[Any]:
            self._write()
            labels = client.service_name, request.function
            started = monotonic()

            def end(error: BaseException | None) -> None:
                self._call_seconds.labels(*labels).observe(monotonic() - started)
                outcome = "sent" if request.one_way and error is None else _outcome(error)
                self._calls.labels(*labels, outcome).inc()

            try:
                result = send()
            except BaseException as error:
                end(error)
                raise
            result.rawlink(lambda done: end(done.exception))
            return result

        return count


class _Endpoints(Collector):
    """Asks endpoints for their counts whenever Prometheus asks.

    Args:
        only_histograms: Whether the rest is written, see `WrittenMetrics`.
    """

    def __init__(self, *, only_histograms: bool) -> None:
        self.servers: list[Any] = []
        self.clients: list[Any] = []
        self._only_histograms = only_histograms

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily]:
        """Give what `AmqpRpcServer.stats` and `AmqpRpcClient.stats` say at this moment."""
        for kind, endpoints in self._kinds():
            yield _confirm_times(kind, endpoints)
        if self._only_histograms:
            return
        families: dict[str, CounterMetricFamily | GaugeMetricFamily] = {
            **{name: CounterMetricFamily(name, text, labels=["service"]) for name, text in _COUNTER_MEANINGS.items()},
            **{name: GaugeMetricFamily(name, text, labels=["service"]) for name, text in _GAUGE_MEANINGS.items()},
        }
        for name, service, value in self.readings():
            families[name].add_metric([service], value)
        yield from families.values()

    def readings(self) -> Iterator[tuple[str, str, float]]:
        """Give name, service and value of each gauge and counter."""
        for kind, endpoints in self._kinds():
            for name in _COUNTERS[kind]:
                for service, value in _by_service(endpoints, _stat(name)).items():
                    yield f"amphora_{kind}_{name}", service, value
            for name, (_, read) in _GAUGES[kind].items():
                for service, value in _by_service(endpoints, read).items():
                    yield f"amphora_{kind}_{name}", service, value

    def _kinds(self) -> tuple[tuple[str, list[Any]], ...]:
        return ("server", self.servers), ("client", self.clients)

    def describe(self) -> list[Any]:
        """Say nothing beforehand: no endpoint is asked while it is only registered."""
        return []


def _confirm_times(kind: str, endpoints: Sequence[Any]) -> HistogramMetricFamily:
    what = {"server": "replies", "client": "requests"}[kind]
    meaning = f"Seconds from sending {what} until the broker has confirmed them"
    family = HistogramMetricFamily(f"amphora_{kind}_confirm_seconds", meaning, labels=["service"])
    for service, times in _by_service(endpoints, lambda endpoint: endpoint.confirm_times()).items():
        buckets = [(str(bound), float(times.up_to(bound))) for bound in _CONFIRM_BUCKETS]
        family.add_metric([service], [*buckets, ("+Inf", float(times.count))], times.total)
    return family


def _by_service(endpoints: Sequence[Any], read: Callable[[Any], Sum]) -> dict[str, Sum]:
    """Add up: a process may have several endpoints of one service, and Prometheus takes each label once."""
    found: dict[str, Sum] = {}
    for each in endpoints:
        if not getattr(each, "made", True):
            # What stands for one in Django would make it, and connect.
            continue
        name, value = each.service_name, read(each)
        found[name] = found[name] + value if name in found else value
    return found


def _stat(name: str) -> Callable[[Any], float]:
    return lambda endpoint: float(endpoint.stats()[name])


def _connected(endpoint: Any) -> float:
    return float(endpoint.connected)


def _blocked(endpoint: Any) -> float:
    return float(endpoint.blocked)


_OF_BOTH: Mapping[str, tuple[str, Callable[[Any], float]]] = {
    "outbox": ("Messages that the broker has not confirmed", _stat("outbox")),
    "connected": ("Endpoints whose connections are up", _connected),
    "blocked": ("Endpoints that the broker takes nothing from", _blocked),
}

#: What endpoints tell of this moment, by their kind and the name: what it means, and how it is read.
_GAUGES: Mapping[str, Mapping[str, tuple[str, Callable[[Any], float]]]] = {
    "server": {"running": ("Requests that run now", _stat("running")), **_OF_BOTH},
    "client": {"pending": ("Calls that wait for their replies now", _stat("pending")), **_OF_BOTH},
}

_COUNTERS: Mapping[str, Mapping[str, str]] = {"server": _OF_SERVERS, "client": _OF_CLIENTS}

_GAUGE_MEANINGS = {
    f"amphora_{kind}_{name}": meaning for kind, gauges in _GAUGES.items() for name, (meaning, _) in gauges.items()
}
_COUNTER_MEANINGS = {
    f"amphora_{kind}_{name}": meaning for kind, counters in _COUNTERS.items() for name, meaning in counters.items()
}


def _outcome(error: BaseException | None) -> str:
    if error is None:
        return "ok"
    return next(outcome for kind, outcome in _OUTCOMES if isinstance(error, kind))
