"""Answers probes and Prometheus over HTTP, beside the servers of a process."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict
from importlib.util import find_spec
from typing import Any
from urllib.parse import parse_qs

from amphora import AmqpRpcServer
from amphora.cli.exit_codes import BadArguments
from amphora.cli.output import to_json
from amphora.cli.probe_server import ProbeServer

__all__ = ["Probes"]

_JSON = "application/json"

StartResponse = Callable[[str, list[tuple[str, str]]], Any]


class Probes:
    """An HTTP server: ``/live``, ``/ready`` and, where prometheus-client is installed, ``/metrics``.

    ``/ready?max-lag=2`` is not ready either where the event loop was more than 2 s late lately. To who accepts
    ``application/json``, it answers in JSON.

    Args:
        servers: Whose health and metrics it tells.
        host: Address to listen at.
        port: TCP port; 0 for any that is free.
    """

    def __init__(self, servers: Sequence[AmqpRpcServer], host: str, port: int) -> None:
        self._servers = servers
        self._metrics: Any = None
        if find_spec("prometheus_client") is not None:
            from prometheus_client import make_wsgi_app  # noqa: PLC0415  (an extra)

            from amphora.contrib.prometheus import Metrics  # noqa: PLC0415  (needs it)

            # A program that has metrics of its own goes on with those.
            with suppress(ValueError):
                metrics = Metrics()
                for each in servers:
                    metrics.watch(each)
            self._metrics = make_wsgi_app()
        self._host, self._port = host, port
        self._http = ProbeServer((host, port), self._answer)

    def __str__(self) -> str:
        lacking = "" if self._metrics is not None else " (no prometheus-client: no /metrics)"
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}: {self._paths}{lacking}"

    @property
    def _paths(self) -> str:
        return "/live, /ready" + (", /metrics" if self._metrics is not None else "")

    def start(self) -> None:
        """Listen.

        Raises:
            BadArguments: The port is taken, or the address is not this machine's.
        """
        try:
            self._http.start()
        except OSError as error:
            where = f"{self._host}:{self._port}"
            # gevent adds the address to the text, which says it twice then.
            why = os.strerror(error.errno) if error.errno else str(error)
            raise BadArguments(f"--metrics-port: cannot listen at {where}: {why}") from error

    @property
    def port(self) -> int:
        """TCP port that it listens at; where 0 was given, the one that was free."""
        return int(self._http.server_port or 0)

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
            try:
                max_lag = _max_lag(environ.get("QUERY_STRING", ""))
            except ValueError as error:
                return _text(start_response, "400 Bad Request", str(error))
            return self._ready(start_response, max_lag, as_json=_JSON in environ.get("HTTP_ACCEPT", ""))
        return _text(start_response, "404 Not Found", f"there are {self._paths}")

    def _ready(self, start_response: StartResponse, max_lag: float | None, *, as_json: bool) -> list[bytes]:
        health = [(each.service_name, each.health()) for each in self._servers]
        ready = all(each.ready_within(max_lag) for _, each in health)
        status = "200 OK" if ready else "503 Service Unavailable"
        if not as_json:
            return _text(
                start_response, status, "\n".join(f"{name}: {each.describe(max_lag)}" for name, each in health)
            )
        servers = [{"service": name, "ready": each.ready_within(max_lag), **asdict(each)} for name, each in health]
        return _text(start_response, status, to_json({"ready": ready, "servers": servers}), _JSON)


def _max_lag(query: str) -> float | None:
    """Read the query of /ready.

    Raises:
        ValueError: There is something else in it.
    """
    given = parse_qs(query, keep_blank_values=True)
    (text,) = given.pop("max-lag", [""])[-1:]
    try:
        found = float(text) if text else None
    except ValueError:
        found = -1.0
    if given or (found is not None and not found > 0):
        raise ValueError("/ready takes nothing but max-lag=SECONDS, more than 0")
    return found


def _text(
    start_response: StartResponse, status: str, text: str, content_type: str = "text/plain; charset=utf-8"
) -> list[bytes]:
    body = f"{text}\n".encode()
    start_response(status, [("Content-Type", content_type), ("Content-Length", str(len(body)))])
    return [body]
