"""Counts that are read from objects, written to where prometheus-client collects those of several processes.

With ``PROMETHEUS_MULTIPROC_DIR``, the library reads what each process has written to files, and asks no collector.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge

__all__ = ["WrittenMetrics", "several_processes"]

logger = logging.getLogger(__name__)

#: Seconds between two writings.
_PERIOD = 5.0

#: What is read: name of a metric, name of the service, value.
Readings = Iterable[tuple[str, str, float]]


def several_processes() -> bool:
    """Return whether prometheus-client collects the metrics of several processes."""
    return "PROMETHEUS_MULTIPROC_DIR" in os.environ or "prometheus_multiproc_dir" in os.environ


class WrittenMetrics:
    """Writes gauges and counters every five seconds, in a thread (a greenlet, where gevent has patched).

    Gauges are summed over the processes that live, counters over all.

    Args:
        gauges: What they mean, by their names.
        counters: The same of counters.
        read: Reads them all.
        registry: Takes the metrics.
    """

    def __init__(
        self,
        gauges: Mapping[str, str],
        counters: Mapping[str, str],
        read: Callable[[], Readings],
        registry: CollectorRegistry,
    ) -> None:
        labels = ("service",)
        self._gauges = {
            name: Gauge(name, meaning, labels, multiprocess_mode="livesum", registry=registry)
            for name, meaning in gauges.items()
        }
        self._counters = {name: Counter(name, meaning, labels, registry=registry) for name, meaning in counters.items()}
        self._read = read
        self._last: dict[tuple[str, str], float] = {}
        self._pid: int | None = None

    def start(self) -> None:
        """Write from now on, if this process does not yet; a forked child begins anew."""
        if self._pid == os.getpid():
            return
        if self._pid is not None:
            # What the parent has counted is the parent's.
            self._last.clear()
        self._pid = os.getpid()
        threading.Thread(target=self._keep_writing, name="amphora metrics", daemon=True).start()

    def write(self) -> None:
        """Write the values of this moment."""
        for name, service, value in self._read():
            if name in self._gauges:
                self._gauges[name].labels(service).set(value)
                continue
            last = self._last.get((name, service), 0.0)
            self._last[name, service] = value
            # An endpoint that was made anew counts from 0 again.
            self._counters[name].labels(service).inc(value - last if value >= last else value)

    def _keep_writing(self) -> None:
        failed = False
        while True:
            try:
                self.write()
                failed = False
            except Exception:
                # One error must not end the metrics of this process for good.
                if not failed:
                    logger.exception("metrics could not be written; trying again every %g s", _PERIOD)
                failed = True
            time.sleep(_PERIOD)
