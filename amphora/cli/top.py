"""``amphora top``: a live screen of the servers of a service."""

from __future__ import annotations

from time import monotonic, time
from typing import Any

import gevent
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table

from amphora import AmqpRpcClient, BrokerError, QueueStatus
from amphora.cli.exit_codes import NoAnswer
from amphora.cli.label_names import named_by
from amphora.cli.latencies import milliseconds, percentile, roughly
from amphora.cli.output import Part, console, fitted, print_lines, styled, table, to_json
from amphora.cli.queue_answers import ask_about_queues, no_answer
from amphora.cli.services import TargetService
from amphora.cli.top_model import ObservedServer, Runs, runs_by_function

__all__ = ["run"]


#: Columns that a narrow terminal goes without.
_OPTIONAL = ("PING", "OUTBOX", "UP", "ERRORS", "ERR/s")

#: Columns where no terminal shows them: nothing is left out, or cut off.
_PIPE = 1000

#: Rounds that a server may miss before it is shown no more.
_GONE = 10


class _Screen:
    """What is shown, and asked for again each round.

    Args:
        client: Asks.
        labels: Labels whose queues are shown too.
        fanout: Whether there is no queue that servers share.
        functions: Whether functions are shown one by one.
    """

    def __init__(self, client: AmqpRpcClient, labels: tuple[str, ...], *, fanout: bool, functions: bool) -> None:
        self._client = client
        self._labels = labels
        self._fanout = fanout
        self._functions = functions
        self.servers: dict[str, ObservedServer] = {}
        self._queues: dict[str, QueueStatus | None] = {}
        self._unanswered: tuple[str, ...] = ()
        self._trouble = ""

    def ask(self, timeout: float) -> None:
        """Ask servers and broker."""
        inspect = self._client.inspect
        pinging = gevent.spawn(inspect.ping, timeout=timeout)
        counting = gevent.spawn(inspect.stats, timeout=timeout)
        timing = gevent.spawn(inspect.run_times, timeout=timeout)
        looking = gevent.spawn(self._look_at_queues, timeout)
        looking.join()
        for info in pinging.get():
            server = self.servers.setdefault(info.uuid, ObservedServer(info))
            server.info = info
            server.round_trips.append(info.round_trip)
        answered, run_times = counting.get(), timing.get()
        now = monotonic()
        for uuid, server in list(self.servers.items()):
            if uuid in answered:
                server.update(answered[uuid], run_times.get(uuid), now)
            else:
                server.missed += 1
                if server.missed > _GONE:
                    del self.servers[uuid]

    def render(self, out: Console) -> RenderableType:
        """Give what is to be shown on a console."""
        present = self._present()
        told = [each.runs for each in present if each.runs is not None]
        p50, p99 = _percentiles(sum(told[1:], told[0]) if told else None)
        calls = sum(each.calls for each in present)
        running = sum(each.stats.get("running", 0) for each in present)
        title = [
            styled((self._client.service_name, "bold"), f" on {self._client.broker}"),
            styled(
                f"{len(present)} server{'s' * (len(present) != 1)}, {calls:.1f} calls/s, {running} running",
                "" if p50 is None else f", p50 {roughly(p50)} ms, p99 {roughly(p99)} ms",
            ),
        ]
        for line in title:
            line.no_wrap, line.overflow = out.is_terminal, "ellipsis"
        parts: list[RenderableType] = [*title, "", fitted(self._server_table(), out, _OPTIONAL)]
        if self._queues or self._unanswered:
            parts += ["", self._queue_table()]
        if self._functions:
            parts += ["", self._function_table()]
        if self._trouble:
            parts += ["", styled((self._trouble, "red"))]
        return Group(*parts)

    def record(self) -> dict[str, Any]:
        """Return the same for scripts."""
        return {
            "time": time(),
            "servers": [
                {
                    "uuid": uuid,
                    "host": each.info.host,
                    "pid": each.info.pid,
                    "concurrency": each.info.concurrency,
                    "calls_per_second": each.calls,
                    "errors_per_second": each.errors,
                    "run_times": _record(each.runs),
                    "round_trip": each.info.round_trip,
                    "answered": not each.missed,
                    "stats": each.stats,
                }
                for uuid, each in self.servers.items()
            ],
            "functions": {name: _record(runs) for name, runs in runs_by_function(self._present()).items()},
            "queues": {name: None if each is None else each._asdict() for name, each in self._queues.items()},
            "unanswered_queues": list(self._unanswered),
        }

    def _present(self) -> list[ObservedServer]:
        return [each for each in self.servers.values() if not each.missed]

    def _server_table(self) -> Table:
        numbers = ("UP", "CALLS/s", "RUN", "p50", "p99", "ERR/s", "ERRORS", "OUTBOX", "PING")
        rows = table("SERVER", *numbers, right=numbers, cut=True)
        for server in sorted(self.servers.values(), key=lambda each: (each.info.host, each.info.pid)):
            cells = _cells(server)
            style = "dim red" if server.missed else ""
            rows.add_cells(f"{server.info.host}:{server.info.pid}", *(cells[each] for each in numbers), style=style)
        return rows

    def _queue_table(self) -> Table:
        rows = table("QUEUE", "MESSAGES", "CONSUMERS", right=("MESSAGES", "CONSUMERS"), cut=True)
        for name, each in self._queues.items():
            if each is not None:
                rows.add_cells(name, str(each.messages), str(each.consumers))
        for name in self._unanswered:
            rows.add_cells(name, ("no answer", "red"), ("-", "dim"))
        return rows

    def _function_table(self) -> Table:
        rows = table("FUNCTION", "CALLS/s", "p50", "p99", right=("CALLS/s", "p50", "p99"), cut=True)
        for name, runs in runs_by_function(self._present()).items():
            rows.add_cells(name, f"{runs.per_second:.1f}", *map(roughly, _percentiles(runs)))
        return rows

    def _look_at_queues(self, timeout: float) -> None:
        if self._fanout:
            return
        try:
            # (A label queue without an answer must not use up the time of the others.)
            own = ask_about_queues(self._client, timeout=timeout / 2 if self._labels else timeout)
            labels = ask_about_queues(self._client, *self._labels, timeout=timeout / 2) if self._labels else None
        except BrokerError as error:
            self._trouble = str(error)
            return
        self._queues = {**own.found, **({} if labels is None else labels.found)}
        self._unanswered = (*own.unanswered, *(() if labels is None else labels.unanswered))
        self._trouble = no_answer(*self._unanswered) if self._unanswered else ""


def run(
    service: TargetService,
    interval: float,
    rounds: int | None,
    labels: tuple[str, ...],
    queue_template: str | None,
    functions: bool,
    as_json: bool,
) -> None:
    """Watch the servers of the service NS: rates, run times, what runs, errors, queues."""
    out = console()
    done = 0
    with service.connected(delivery_limit=None if service.fanout else 2, **named_by(queue_template)) as client:
        screen = _Screen(client, labels, fanout=service.fanout, functions=functions)
        live = Live(console=out, screen=True, auto_refresh=False) if out.is_terminal and not as_json else None
        try:
            if live is not None:
                live.start()
                live.update(styled(f"asking the servers of {service.name!r} ..."), refresh=True)
            while rounds is None or done < rounds:
                # The number of servers is unknown: answers are awaited for the whole interval.
                screen.ask(interval)
                done += 1
                if as_json:
                    print_lines(to_json(screen.record()))
                elif live is not None:
                    live.update(screen.render(out), refresh=True)
                else:
                    out.width = _PIPE
                    if done > 1:
                        out.print()
                    out.print(screen.render(out))
        except KeyboardInterrupt:
            # The end of it, as of top(1).
            pass
        finally:
            if live is not None:
                live.stop()
    if not screen.servers:
        raise NoAnswer(f"no server of service {service.name!r} has answered")


def _cells(server: ObservedServer) -> dict[str, Part]:
    stats, ordered = server.stats, sorted(server.round_trips)
    errors = f"{server.errors:.1f}"
    p50, p99 = _percentiles(server.runs)
    return {
        "UP": _age(time() + (server.info.clock_ahead or 0.0) - server.info.started),
        "CALLS/s": f"{server.calls:.1f}",
        "RUN": f"{stats.get('running', 0)}/{server.info.concurrency}",
        "p50": roughly(p50),
        "p99": roughly(p99),
        "ERR/s": (errors, "red" if server.errors else ""),
        "ERRORS": str(stats.get("errors", 0)),
        "OUTBOX": str(stats.get("outbox", 0)),
        "PING": milliseconds(percentile(ordered, 50)) if ordered else "-",
    }


def _percentiles(runs: Runs | None) -> tuple[float | None, float | None]:
    return (None, None) if runs is None else (runs.times.percentile(50), runs.times.percentile(99))


def _record(runs: Runs | None) -> dict[str, Any] | None:
    if runs is None:
        return None
    p50, p99 = _percentiles(runs)
    return {"count": runs.times.count, "total": runs.times.total, "p50": p50, "p99": p99}


def _age(duration: float) -> str:
    minutes, second = divmod(max(0, int(duration)), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days}d{hour:02}h"
    return f"{hour}h{minute:02}m" if hours else f"{minute}m{second:02}s"
