"""``amphora top``: a live screen of the servers of a service."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from time import monotonic, time
from typing import Any

import click
import gevent
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from amphora import AmqpRpcClient, BrokerError, QueueStatus, ServerInfo
from amphora.cli.latencies import milliseconds, percentile
from amphora.cli.output import console, fitted, table, to_json
from amphora.cli.services import Service, ServiceCommand, service_options
from amphora.cli.statuses import NoAnswer
from amphora.cli.values import count, seconds

__all__ = ["command"]

_EPILOG = """\
CALLS/s and ERR/s are since the round before, ERRORS since the server was started. RUN are requests that run now, of so
many that may; OUTBOX are replies that the broker has not confirmed. PING is the round trip of this command's own
question, of its last 100 rounds: what functions take, servers do not tell this way.

\b
Exit statuses:
  0    ended
  3    no server has answered
  4    the broker cannot be reached, or refuses
"""

#: Round trips that are remembered of each server.
_REMEMBERED = 100

#: Columns that a narrow terminal goes without.
_OPTIONAL = ("OUTBOX", "UP", "ERRORS", "p99", "ERR/s")


@dataclass
class _Server:
    """What is known of one server.

    Args:
        info: Its last answer.
        stats: What it counted when it was asked last.
        at: When that was (`time.monotonic`).
        rates: Calls and errors per second, from the last two answers.
        round_trips: Seconds, the last ones.
        missed: How many rounds it has not answered.
    """

    info: ServerInfo
    stats: dict[str, int] = field(default_factory=dict)
    at: float = 0.0
    rates: tuple[float, float] = (0.0, 0.0)
    round_trips: deque[float] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    missed: int = 0


class _Screen:
    """What is shown, and asked for again each round.

    Args:
        client: Asks.
        labels: Labels whose queues are shown too.
        fanout: Whether there is no queue that servers share.
    """

    def __init__(self, client: AmqpRpcClient, labels: tuple[str, ...], *, fanout: bool) -> None:
        self._client = client
        self._labels = labels
        self._fanout = fanout
        self.servers: dict[str, _Server] = {}
        self._queues: dict[str, QueueStatus | None] = {}
        self._trouble = ""

    def ask(self, timeout: float) -> None:
        """Ask servers and broker."""
        pinging = gevent.spawn(self._client.inspect.ping, timeout=timeout)
        counting = gevent.spawn(self._client.inspect.stats, timeout=timeout)
        looking = gevent.spawn(self._look_at_queues, timeout)
        looking.join()
        for info in pinging.get():
            server = self.servers.setdefault(info.uuid, _Server(info))
            server.info = info
            server.round_trips.append(info.round_trip)
        now = monotonic()
        answered = counting.get()
        for uuid, server in list(self.servers.items()):
            if uuid in answered:
                _update(server, answered[uuid], now)
            else:
                server.missed += 1
                if server.missed > 10:
                    del self.servers[uuid]

    def render(self, out: Console) -> RenderableType:
        """Give what is to be shown on a console."""
        present = [each for each in self.servers.values() if not each.missed]
        calls = sum(each.rates[0] for each in present)
        running = sum(each.stats.get("running", 0) for each in present)
        title = Text.assemble(
            (self._client.service_name, "bold"),
            f" on {self._client.broker}\n",
            f"{len(present)} server{'s' * (len(present) != 1)}, {calls:.1f} calls/s, {running} running",
        )
        parts: list[RenderableType] = [title, "", fitted(self._server_table(), out, _OPTIONAL)]
        if self._queues:
            parts += ["", self._queue_table()]
        if self._trouble:
            parts += ["", Text(self._trouble, style="red")]
        return Group(*parts)

    def record(self) -> dict[str, Any]:
        """Give the same for scripts."""
        return {
            "time": time(),
            "servers": [
                {
                    "uuid": uuid,
                    "host": each.info.host,
                    "pid": each.info.pid,
                    "concurrency": each.info.concurrency,
                    "calls_per_second": each.rates[0],
                    "errors_per_second": each.rates[1],
                    "round_trip": each.info.round_trip,
                    "answered": not each.missed,
                    "stats": each.stats,
                }
                for uuid, each in self.servers.items()
            ],
            "queues": {name: None if each is None else each._asdict() for name, each in self._queues.items()},
        }

    def _server_table(self) -> Table:
        numbers = ("UP", "CALLS/s", "RUN", "ERR/s", "ERRORS", "OUTBOX", "PING p50", "p99")
        rows = table("SERVER", *numbers, right=numbers)
        for server in sorted(self.servers.values(), key=lambda each: (each.info.host, each.info.pid)):
            cells = _cells(server)
            style = "dim red" if server.missed else ""
            rows.add_row(
                escape(f"{server.info.host}:{server.info.pid}"), *(cells[each] for each in numbers), style=style
            )
        return rows

    def _queue_table(self) -> Table:
        rows = table("QUEUE", "MESSAGES", "CONSUMERS", right=("MESSAGES", "CONSUMERS"))
        for name, each in self._queues.items():
            if each is not None:
                rows.add_row(escape(name), str(each.messages), str(each.consumers))
        return rows

    def _look_at_queues(self, timeout: float) -> None:
        if self._fanout:
            return
        try:
            found = self._client.queue_status(timeout=timeout)
            if self._labels:
                found |= self._client.queue_status(*self._labels, timeout=timeout)
        except BrokerError as error:
            self._trouble = str(error)
        else:
            self._queues, self._trouble = found, ""


@click.command("top", cls=ServiceCommand, epilog=_EPILOG)
@service_options
@click.option("-i", "--interval", type=seconds, default=1.0, show_default=True, help="From round to round.")
@click.option("-n", "--rounds", type=count, metavar="N", help="Rounds; without it, until Ctrl-C.")
@click.option("--label", "labels", multiple=True, metavar="LABEL", help="Show the queue of a label too.")
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each round.")
def command(service: Service, interval: float, rounds: int | None, labels: tuple[str, ...], as_json: bool) -> None:
    """Watch the servers of the service NS: rates, what runs, errors, queues."""
    out = console()
    done = 0
    with service.connected(delivery_limit=None if service.fanout else 2) as client:
        screen = _Screen(client, labels, fanout=service.fanout)
        live = Live(console=out, screen=True, auto_refresh=False) if out.is_terminal and not as_json else None
        try:
            if live is not None:
                live.start()
                live.update(Text(f"asking the servers of {service.name!r} ..."), refresh=True)
            while rounds is None or done < rounds:
                # Nobody knows how many servers there are: the whole interval is waited for answers.
                screen.ask(interval)
                done += 1
                if as_json:
                    click.echo(to_json(screen.record()))
                elif live is not None:
                    live.update(screen.render(out), refresh=True)
                else:
                    out.width = max(out.width, 120)
                    out.print(screen.render(out), end="\n\n")
        except KeyboardInterrupt:
            # The end of it, as of top(1).
            pass
        finally:
            if live is not None:
                live.stop()
    if not screen.servers:
        raise NoAnswer(f"no server of service {service.name!r} has answered")


def _update(server: _Server, stats: dict[str, int], now: float) -> None:
    if server.stats and now > server.at:
        took = now - server.at
        server.rates = (
            max(0, stats.get("requests", 0) - server.stats.get("requests", 0)) / took,
            max(0, stats.get("errors", 0) - server.stats.get("errors", 0)) / took,
        )
    server.stats, server.at, server.missed = stats, now, 0


def _cells(server: _Server) -> dict[str, str]:
    stats, ordered = server.stats, sorted(server.round_trips)
    errors = f"{server.rates[1]:.1f}"
    return {
        "UP": _age(time() + (server.info.clock_ahead or 0.0) - server.info.started),
        "CALLS/s": f"{server.rates[0]:.1f}",
        "RUN": f"{stats.get('running', 0)}/{server.info.concurrency}",
        "ERR/s": f"[red]{errors}[/]" if server.rates[1] else errors,
        "ERRORS": str(stats.get("errors", 0)),
        "OUTBOX": str(stats.get("outbox", 0)),
        "PING p50": milliseconds(percentile(ordered, 50)) if ordered else "-",
        "p99": milliseconds(percentile(ordered, 99)) if ordered else "-",
    }


def _age(duration: float) -> str:
    minutes, second = divmod(max(0, int(duration)), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days}d{hour:02}h"
    return f"{hour}h{minute:02}m" if hours else f"{minute}m{second:02}s"
