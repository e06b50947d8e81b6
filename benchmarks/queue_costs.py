"""Prints what a queue costs a RabbitMQ node: memory, files and bytes on disk, and the time to declare and to delete it.

Classic and quorum queues, empty and with ten messages each, in alternated rounds on a node of their own.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import amqp
import psutil
from broker import Broker, BrokerNotStarted
from report import table

_EXCHANGE = "bench_queue_costs"
_MESSAGES = 10
_BODY = b"x" * 100

#: Seconds after which memory and files are read.
_SETTLED = 8.0

_TYPES: Mapping[str, Mapping[str, Any]] = {
    "classic": {"x-queue-type": "classic"},
    "quorum": {"x-queue-type": "quorum", "x-delivery-limit": 1_000_000_000},
}


@dataclass(frozen=True)
class Cost:
    """What so many queues cost, per queue; times in milliseconds, the median of all."""

    declare_ms: float
    delete_ms: float
    memory: float
    files: float
    size: float
    memory_with_messages: float
    files_with_messages: float


def main() -> int:
    options = _parse()
    found: dict[str, list[Cost]] = {name: [] for name in _TYPES}
    version = "unknown"
    try:
        for number in range(options.rounds):
            for name in _TYPES:
                # A node of its own for each: what was deleted leaves its memory and its log behind.
                with Broker() as broker:
                    version = broker.version
                    found[name].append(_measure(broker, _TYPES[name], options.queues))
                    print(f"round {number + 1}, {name}: {found[name][-1]}", file=sys.stderr, flush=True)
    except BrokerNotStarted as error:
        print(error, file=sys.stderr)
        return 1
    print(f"RabbitMQ {version}, per queue of {options.queues}, median of {options.rounds} rounds\n")
    heads = ["type", "declare, ms", "delete, ms", "memory, kB", "files", "kB on disk"]
    heads += [f"memory with {_MESSAGES} messages, kB", f"files with {_MESSAGES} messages"]
    print(table(heads, [[name, *_row(costs)] for name, costs in found.items()], numbers=True))
    return 0


def _row(costs: list[Cost]) -> Iterator[str]:
    def median(attribute: str) -> float:
        return statistics.median(getattr(each, attribute) for each in costs)

    yield f"{median('declare_ms'):.1f}"
    yield f"{median('delete_ms'):.1f}"
    yield f"{median('memory') / 1000:.0f}"
    yield f"{median('files'):.1f}"
    yield f"{median('size') / 1000:.1f}"
    yield f"{median('memory_with_messages') / 1000:.0f}"
    yield f"{median('files_with_messages'):.1f}"


def _measure(broker: Broker, arguments: Mapping[str, Any], queues: int) -> Cost:
    with amqp.Connection(f"127.0.0.1:{broker.port}") as connection:
        channel = connection.channel()
        channel.exchange_declare(_EXCHANGE, "direct", durable=True, auto_delete=False)
        # What the node loads at the first queue of a type is not a queue's.
        _declare(channel, "warm-up", arguments)
        time.sleep(_SETTLED)
        memory, files, size = _memory(broker), *_stored(broker.data)
        names = [f"{_EXCHANGE}_{number}" for number in range(queues)]
        declare = [_declare(channel, name, arguments) for name in names]
        time.sleep(_SETTLED)
        empty = _memory(broker), *_stored(broker.data)
        channel.confirm_select()
        for name in names:
            for _ in range(_MESSAGES):
                channel.basic_publish_confirm(amqp.Message(_BODY, delivery_mode=2), _EXCHANGE, name)
        time.sleep(_SETTLED)
        full = _memory(broker), *_stored(broker.data)
        delete = [_timed(channel.queue_delete, name) for name in names]
    return Cost(
        statistics.median(declare) * 1000,
        statistics.median(delete) * 1000,
        (empty[0] - memory) / queues,
        (empty[1] - files) / queues,
        (empty[2] - size) / queues,
        (full[0] - memory) / queues,
        (full[1] - files) / queues,
    )


def _declare(channel: amqp.Channel, name: str, arguments: Mapping[str, Any]) -> float:
    """Declare and bind a queue, as Amphora does; return the seconds."""

    def declare() -> None:
        channel.queue_declare(name, durable=True, auto_delete=False, arguments=dict(arguments))
        channel.queue_bind(name, _EXCHANGE, name)

    return _timed(declare)


def _timed(function: Any, *arguments: Any) -> float:
    started = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - started


def _memory(broker: Broker) -> int:
    """Resident bytes of the node with all its processes."""
    root = psutil.Process(broker.pid)
    return sum(each.memory_info().rss for each in [root, *root.children(recursive=True)])


def _stored(directory: Path) -> tuple[int, int]:
    """How many files and directories the node has, and their bytes."""
    entries = list(directory.rglob("*"))
    return len(entries), sum(entry.stat().st_blocks * 512 for entry in entries if entry.exists())


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queues", type=int, default=500, help="of each type (default: 500)")
    parser.add_argument("--rounds", type=int, default=3, help="(default: 3)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
