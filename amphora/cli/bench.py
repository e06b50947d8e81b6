"""``amphora bench``: load a service, and measure how it does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import gevent
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from amphora import AmqpRpcClient, AmqpRpcException, parse_value
from amphora.cli.exit_codes import BadArguments, Failed
from amphora.cli.latencies import histogram, milliseconds, percentile
from amphora.cli.output import console, errors, print_json, print_line, print_table, table
from amphora.cli.services import TargetService
from amphora.cli.values import parse_keyword_arguments

__all__ = ["run"]


#: Seconds between two movements of the bar.
_TICK = 0.1

#: Columns of a bar of the histogram, at most.
_BAR = 40


@dataclass
class _Run:
    """What has come of a run so far.

    Args:
        wanted: How many calls are to be made; None for any number within the time.
        ends: Time (`time.monotonic`) after which no more calls are begun; None for no such time.
    """

    wanted: int | None
    ends: float | None
    begun: int = 0
    durations: list[float] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    stopped: bool = False

    @property
    def done(self) -> int:
        """How many calls have ended."""
        return len(self.durations) + self.failures.total()

    def begin(self) -> bool:
        """Count one more call; return whether it is to be made."""
        if self.stopped or self.begun == self.wanted or (self.ends is not None and monotonic() >= self.ends):
            return False
        self.begun += 1
        return True


def run(
    service: TargetService,
    function: str,
    values: tuple[str, ...],
    kw: tuple[str, ...],
    concurrency: int,
    duration: float | None,
    wanted: int | None,
    routing_key: str | None,
    timeout: float,
    as_json: bool,
) -> None:
    """Call FUNCTION of the service NS over and over, and report rates and latencies."""
    keywords = parse_keyword_arguments(kw)
    arguments = [parse_value(text) for text in values]
    if duration is None and wanted is None:
        duration = 10.0
    options: dict[str, Any] = {"function_name": function, "timeout": timeout}
    if routing_key is not None:
        options["routing_key"] = routing_key
    with service.connected() as client:
        caller = client.call(**options)
        began = monotonic()
        run = _Run(wanted, None if duration is None else began + duration)
        try:
            _load(run, lambda: caller(*arguments, **keywords), concurrency, duration, quiet=as_json)
        except (TypeError, ValueError) as error:
            raise BadArguments(str(error)) from error
        took = monotonic() - began
        where = _where(client, function)
    report = _report(run, took)
    if as_json:
        print_json({"service": service.name, "function": function, "concurrency": concurrency, **report})
    else:
        _print(report, run, where, concurrency)
    if run.failures:
        raise Failed(f"{run.failures.total()} of {run.done} calls have failed")


def _load(run: _Run, call: Callable[[], Any], concurrency: int, duration: float | None, *, quiet: bool) -> None:
    """Keep so many calls under way until the run is over; Ctrl-C ends it early."""
    callers = [gevent.spawn(_keep_calling, run, call) for _ in range(concurrency)]
    out = errors()
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(None),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=out,
        transient=True,
        disable=quiet or not out.is_terminal,
        auto_refresh=False,
    )
    began = monotonic()
    try:
        with bar:
            task = bar.add_task("calling", total=1.0, rate="")
            while not all(caller.ready() for caller in callers):
                gevent.joinall(callers, timeout=_TICK, raise_error=True)
                took = monotonic() - began
                parts = [run.done / run.wanted if run.wanted else 0.0, took / duration if duration else 0.0]
                bar.update(task, completed=min(1.0, max(parts)), rate=f"{run.done / took:.0f} calls/s")
                bar.refresh()
    except KeyboardInterrupt:
        run.stopped = True
        gevent.joinall(callers, timeout=1.0)
    finally:
        gevent.killall(callers)


def _keep_calling(run: _Run, call: Callable[[], Any]) -> None:
    while run.begin():
        began = monotonic()
        try:
            call()
        except AmqpRpcException as error:
            run.failures[f"{type(error).__name__}: {_first_line(error)}"] += 1
        else:
            run.durations.append(monotonic() - began)


def _report(run: _Run, took: float) -> dict[str, Any]:
    ordered = sorted(run.durations)
    latency = {}
    if ordered:
        latency = {"min": ordered[0], **{f"p{each}": percentile(ordered, each) for each in (50, 90, 99)}}
        latency |= {"max": ordered[-1], "mean": sum(ordered) / len(ordered)}
    return {
        "calls": run.done,
        "seconds": took,
        "calls_per_second": run.done / took,
        "failures": dict(run.failures),
        "latency": latency,
        "histogram": [{"from": each.low, "to": each.high, "count": each.count} for each in histogram(ordered)],
    }


def _print(report: dict[str, Any], run: _Run, where: str, concurrency: int) -> None:
    print_line(where)
    print_line(
        (f"{report['calls_per_second']:.0f} calls/s", "bold"),
        f": {report['calls']} calls in {report['seconds']:.1f} s, {concurrency} at a time",
    )
    for text, number in run.failures.most_common(5):
        print_line((f"{number} x {text}", "red"))
    if not run.durations:
        return
    print_line()
    names = [name for name in report["latency"] if name != "mean"]
    rows = table("LATENCY ms", *names, right=tuple(names))
    rows.add_cells("", *(milliseconds(report["latency"][name]) for name in names))
    print_table(rows)
    print_line()
    ordered = sorted(run.durations)
    buckets = histogram(ordered)
    most = max(each.count for each in buckets)
    bar = max(10, min(_BAR, console().width - 36))
    for each in buckets:
        label = f"{milliseconds(each.low):>6} - {milliseconds(each.high):>6} ms"
        share = each.count / len(ordered)
        blocks = f" {'█' * max(1, round(bar * each.count / most))}" if each.count else ""
        print_line(f"{label} {each.count:>8} {share:>6.1%}", (blocks, "cyan"))


def _where(client: AmqpRpcClient, function: str) -> str:
    return f"{function} of service {client.service_name!r} on {client.broker}"


def _first_line(error: Exception) -> str:
    # Numbers in it (ids, seconds) would make each of them another one.
    return str(error).partition("\n")[0][:120]
