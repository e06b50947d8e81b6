"""``amphora health``: check whether servers can do their work, for probes and for people."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict
from typing import Any

import click
import gevent

from amphora import AmqpRpcClient, ServerHealth, ServerInfo
from amphora.cli import probe
from amphora.cli.exit_codes import BadArguments, Failed, NoAnswer, NotSent
from amphora.cli.output import Part, print_json, print_line, print_table, table
from amphora.cli.services import TargetService

__all__ = ["run"]


#: Seconds for answers over the broker: their number is unknown.
_OVER_THE_BROKER = 1.0


def run(
    service: TargetService,
    ports: tuple[int, ...],
    processes: int,
    host: str | None,
    ready: bool,
    live: bool,
    max_lag: float | None,
    here: bool,
    servers: int | None,
    timeout: float | None,
    as_json: bool,
) -> None:
    """Check whether the servers of the service NS, or the processes at --port, can do their work."""
    if bool(service.name) == bool(ports):
        raise BadArguments("name either the service, or the --port of `amphora serve --metrics-port`")
    if live and (ready or max_lag is not None):
        raise BadArguments(f"--live does not go with {'--ready' if ready else '--max-lag'}")
    if ports:
        if here:
            raise BadArguments("--here goes with a service: --port asks this machine, or that of --host")
        if max(ports) + processes > 65536:
            raise BadArguments(f"--port: {processes} processes need as many ports, and there are 65535")
        all_ports = probe.ports_of(list(ports), processes)
        page = probe.page_of(live=live, max_lag=max_lag)
        _ask_over_http(
            all_ports,
            page,
            host or probe.DEFAULT_HOST,
            timeout or probe.DEFAULT_TIMEOUT,
            servers,
            as_json=as_json,
        )
        return
    if live:
        raise BadArguments("--live goes with --port: over the broker, one that is down would look like dead servers")
    if host is not None or processes > 1:
        raise BadArguments("--host and --processes go with --port")
    _ask_over_the_broker(service, here, servers, timeout or _OVER_THE_BROKER, max_lag, as_json=as_json)


def _ask_over_http(
    ports: list[int], page: str, host: str, timeout: float, wanted: int | None, *, as_json: bool
) -> None:
    answers = probe.ask(
        ports, host=host, page=page, timeout=timeout, accept="application/json" if as_json else "text/plain"
    )
    if as_json:
        print_json([_http_record(*each) for each in answers])
    else:
        for line in probe.describe(answers):
            print_line(line)
    if sum(status == 200 for _, status, _ in answers) < (wanted or len(ports)):
        # It has all been said.
        raise click.exceptions.Exit(1)


def _http_record(port: int, status: int, text: str) -> dict[str, Any]:
    if status in (200, 503):
        try:
            told = json.loads(text)
        except (ValueError, RecursionError):
            told = None
        if isinstance(told, dict):
            return {**told, "port": port, "answered": True}
    return {"port": port, "answered": status != 0, "text": text}


def _ask_over_the_broker(
    service: TargetService, here: bool, wanted: int | None, timeout: float, max_lag: float | None, *, as_json: bool
) -> None:
    with service.connected() as client:
        found, silent = _ask(client, timeout, wanted, platform.node() if here else None, max_lag)
        if not found and not silent and client.blocked:
            raise NotSent(f"the broker takes no messages (memory or disk alarm): {client.state}")
    found.sort(key=lambda each: (each.host, each.pid))
    if as_json:
        print_json([_record(each, max_lag) for each in found])
    elif found or silent:
        _print(found, silent, max_lag)
    if not found and not silent:
        raise NoAnswer(
            f"no server of service {service.name!r}{' on this machine' * here} has answered within {timeout:g} s"
        )
    ready = sum(each.health.ready_within(max_lag) for each in found)
    if wanted is not None and ready < wanted:
        raise Failed(f"{ready} of at least {wanted} server{'s' * (wanted != 1)} ready")
    if wanted is None and ready < len(found) + len(silent):
        raise Failed(f"{ready} of {len(found) + len(silent)} servers ready")


def _ask(
    client: AmqpRpcClient, timeout: float, wanted: int | None, host: str | None, max_lag: float | None
) -> tuple[list[ServerHealth], list[ServerInfo]]:
    """Return how servers are, and those that do not tell, for their Amphora does not know the question."""
    pinging = gevent.spawn(client.inspect.ping, timeout=timeout)
    try:

        def is_ready(server: ServerHealth) -> bool:
            return host in (None, server.host) and server.health.ready_within(max_lag)

        found = [each for each in client.inspect.health(timeout, wanted, is_ready) if host in (None, each.host)]
        if wanted is not None and sum(map(is_ready, found)) >= wanted:
            return found, []
        known = {each.uuid for each in found}
        return found, [each for each in pinging.get() if each.uuid not in known and host in (None, each.host)]
    finally:
        pinging.kill()


def _print(found: list[ServerHealth], silent: list[ServerInfo], max_lag: float | None) -> None:
    rows = table("SERVER", "STATE", "CONNECTED", "CONSUMING", "BLOCKED", "LAG ms", right=("LAG ms",))
    for each in found:
        health = each.health
        late = max_lag is not None and health.loop_lag > max_lag
        lag = f"{health.loop_lag * 1000:.0f}"
        rows.add_cells(
            (f"{each.host}:{each.pid}", "bold"),
            ("ready", "green") if health.ready_within(max_lag) else ("not ready", "red"),
            _yes_or_no(health.connected, good=True),
            _yes_or_no(health.consuming, good=True),
            _yes_or_no(health.blocked, good=False),
            (lag, "red" if late else ""),
        )
    for info in silent:
        rows.add_cells((f"{info.host}:{info.pid}", "bold"), (f"unknown (Amphora {info.version})", "yellow"))
    print_table(rows, optional=("BLOCKED", "CONNECTED", "CONSUMING"))


def _yes_or_no(value: bool, *, good: bool) -> Part:
    return "yes" if value else "no", "" if value is good else "red"


def _record(each: ServerHealth, max_lag: float | None) -> dict[str, Any]:
    return {
        "uuid": each.uuid,
        "host": each.host,
        "pid": each.pid,
        "ready": each.health.ready_within(max_lag),
        **asdict(each.health),
        "round_trip": each.round_trip,
    }
