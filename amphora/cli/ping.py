"""``amphora ping``: ask all servers of a service, again and again, whether they are there."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from time import monotonic

import gevent

from amphora import AmqpRpcClient, ServerInfo
from amphora.cli.exit_codes import Failed, NoAnswer
from amphora.cli.output import print_json, print_line, print_table, table
from amphora.cli.services import TargetService

__all__ = ["run"]


@dataclass
class _Seen:
    """A server that has answered.

    Args:
        info: Its last answer.
        first: Number of the first round that it answered.
        times: Seconds of each round trip.
    """

    info: ServerInfo
    first: int
    times: list[float] = field(default_factory=list)


def run(
    service: TargetService,
    rounds: int | None,
    interval: float,
    timeout: float,
    servers: int | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Ask all servers of the service NS whether they are there, and measure the round trips."""
    seen: dict[str, _Seen] = {}
    done = 0
    if as_json:
        rounds, quiet = rounds or 1, True
    with service.connected() as client:
        if not quiet:
            print_line(f"PING {service.name} on {client.broker}")
        try:
            while rounds is None or done < rounds:
                began = monotonic()
                _ask(client, done + 1, timeout, servers, seen, quiet=quiet)
                done += 1
                if done != rounds:
                    gevent.sleep(max(0.0, interval - (monotonic() - began)))
        except KeyboardInterrupt:
            # The end of it, as people end ping(8).
            print_line()
    if as_json:
        print_json(
            {"service": service.name, "rounds": done, "servers": [_summary(each, done) for each in seen.values()]}
        )
    elif seen:
        _print_summary(service.name, seen, done)
    if not seen:
        raise NoAnswer(f"no server of service {service.name!r} has answered within {timeout:g} s")
    if servers is not None and len(seen) < servers:
        raise Failed(f"{_counted(len(seen), 'server')} instead of {servers}")
    if any(len(each.times) < _asked(each, done) for each in seen.values()):
        raise Failed("answers are missing")


def _ask(
    client: AmqpRpcClient, number: int, timeout: float, servers: int | None, seen: dict[str, _Seen], *, quiet: bool
) -> None:
    answers = client.inspect.ping(timeout=timeout, limit=servers)
    for info in answers:
        one = seen.setdefault(info.uuid, _Seen(info, number))
        one.times.append(info.round_trip)
    if quiet:
        return
    for info in answers:
        print_line((_name(info), "bold"), f" ({info.uuid[:8]}) seq={number} time={_ms(info.round_trip)} ms")
    answered = {info.uuid for info in answers}
    for uuid, one in seen.items():
        if uuid not in answered:
            print_line((f"{_name(one.info)} ({uuid[:8]}) seq={number} no answer", "red"))
    if not answers and not seen:
        print_line((f"seq={number} no answer", "red"))


def _print_summary(name: str, seen: dict[str, _Seen], rounds: int) -> None:
    times = [time for one in seen.values() for time in one.times]
    print_line()
    print_line(
        f"--- {name}: {_counted(len(seen), 'server')}, {_counted(rounds, 'round')}, "
        f"{_counted(len(times), 'answer')} ---"
    )
    rows = table(
        "SERVER", "VERSION", "ANSWERS", "MIN ms", "AVG ms", "MAX ms", right=("ANSWERS", "MIN ms", "AVG ms", "MAX ms")
    )
    for one in sorted(seen.values(), key=lambda each: (each.info.host, each.info.pid)):
        rows.add_cells(
            _name(one.info),
            one.info.version,
            f"{len(one.times)}/{_asked(one, rounds)}",
            *_least_mean_most(one.times),
        )
    print_table(rows, optional=("VERSION", "ANSWERS"))
    if len(seen) > 1:
        least, mean, most = _least_mean_most(times)
        print_line(f"round trip min/avg/max = {least}/{mean}/{most} ms")


def _summary(one: _Seen, rounds: int) -> dict[str, object]:
    times = one.times
    about = {name: value for name, value in asdict(one.info).items() if name != "round_trip"}
    return {
        **about,
        "asked": _asked(one, rounds),
        "answers": len(times),
        "min": min(times),
        "avg": sum(times) / len(times),
        "max": max(times),
    }


def _asked(one: _Seen, rounds: int) -> int:
    """Return how many rounds there were since a server was seen first."""
    return rounds - one.first + 1


def _name(info: ServerInfo) -> str:
    return f"{info.host}:{info.pid}"


def _least_mean_most(times: list[float]) -> tuple[str, str, str]:
    return _ms(min(times)), _ms(sum(times) / len(times)), _ms(max(times))


def _ms(time: float) -> str:
    return f"{time * 1000:.2f}"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
