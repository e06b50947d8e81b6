"""Answers probes and Prometheus over HTTP, beside the servers of a process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from importlib.util import find_spec
from typing import Any

from gevent.pywsgi import WSGIServer

from amphora import AmqpRpcServer
from amphora.cli.statuses import BadArguments

__all__ = ["Probes", "has_prometheus"]

StartResponse = Callable[[str, list[tuple[str, str]]], Any]


def has_prometheus() -> bool:
    """Tell whether the library is installed that the metrics need."""
    return find_spec("prometheus_client") is not None


class Probes:
    """An HTTP server: ``/live``, ``/ready`` and, where prometheus-client is installed, ``/metrics``.

    Args:
        servers: Whose health and metrics it tells.
        host: Address to listen at.
        port: TCP port.
    """

    def __init__(self, servers: Sequence[AmqpRpcServer], host: str, port: int) -> None:
        self._servers = servers
        self._metrics: Any = None
        if has_prometheus():
            from prometheus_client import make_wsgi_app  # noqa: PLC0415  (an extra)

            from amphora.contrib.prometheus import Metrics  # noqa: PLC0415  (needs it)

            # A program that has metrics of its own goes on with those.
            with suppress(ValueError):
                metrics = Metrics()
                for each in servers:
                    metrics.watch(each)
            self._metrics = make_wsgi_app()
        self._host, self._port = host, port
        self._http = WSGIServer((host, port), self._answer, log=None)

    def start(self) -> None:
        """Listen.

        Raises:
            BadArguments: The port is taken, or the address is not this machine's.
        """
        try:
            self._http.start()
        except OSError as error:
            where = f"{self._host}:{self._port}"
            raise BadArguments(f"--metrics-port: cannot listen at {where}: {error.strerror or error}") from error

    def stop(self) -> None:
        """Listen no more."""
        self._http.stop(timeout=1)

    def _answer(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == "/metrics" and self._metrics is not None:
            answer: Iterable[bytes] = self._metrics(environ, start_response)
            return answer
        if path == "/live":
            # That it answers is the answer.
            return _text(start_response, "200 OK", "alive")
        if path == "/ready":
            health = {each.service_name: each.health() for each in self._servers}
            status = "200 OK" if all(each.ready for each in health.values()) else "503 Service Unavailable"
            return _text(start_response, status, "\n".join(f"{name}: {each}" for name, each in health.items()))
        known = "/live, /ready" + (", /metrics" if self._metrics is not None else "")
        return _text(start_response, "404 Not Found", f"there are {known}")


def _text(start_response: StartResponse, status: str, text: str) -> list[bytes]:
    body = f"{text}\n".encode()
    start_response(status, [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))])
    return [body]
