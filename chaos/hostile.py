"""Floods every queue of a service with hostile messages, then asks whether all of it still answers.

``python -m chaos.hostile --count 100000 --seed 1``; ends with status 1 if a good call is not answered, a queue does not
become empty, or a process is gone.
"""

from gevent import monkey

monkey.patch_all()

import argparse
import json
import logging
import random
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import amqp
import psutil

from amphora import AmqpRpcClient, AmqpRpcFanoutClient, AmqpRpcFanoutServer, AmqpRpcServer
from tests.support.broker import Broker
from tests.support.eventually import wait_until

SERVICE, SCREENS, LABEL = "hostile", "hostile_screens", "hostile_label"
GOOD = {"func": "echo", "args": ["x"], "kwargs": {}}
#: Messages between two looks at how many are still waiting, and how many may.
BATCH, WAITING = 500, 2000
#: Bytes of an oversized body: far more than anybody sends, far less than what the broker refuses.
OVERSIZED = 2_000_000


def main() -> int:
    """Flood, print, and return the exit status."""
    options = _parse()
    # A warning for each message is as it should be, and too many of them to read.
    logging.getLogger("amphora").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="amphora-", dir="/tmp") as directory:
        broker = Broker(Path(directory))
        broker.start()
        try:
            return _flood(broker, options.count, random.Random(options.seed))
        finally:
            broker.close()


def _flood(broker: Broker, count: int, chance: random.Random) -> int:
    # They remember little, for what they remember would look like a leak until there is enough of it.
    server = AmqpRpcServer(SERVICE, broker_url=broker.url, remember_count=500)
    screen = AmqpRpcFanoutServer(SCREENS, broker_url=broker.url, remember_count=500)
    client = AmqpRpcClient(SERVICE, broker_url=broker.url, timeout=60)
    announcer = AmqpRpcFanoutClient(SCREENS, broker_url=broker.url, timeout=60)
    for each in (server, screen):
        each.add_function(lambda value: value, name="echo")
    with server, screen, client, announcer:
        client.create_new_request_queue(LABEL)
        server.receive_from_queue(LABEL, block=False)
        targets = [
            (f"rpc_{SERVICE}_request", ""),
            (f"rpc_{SERVICE}_request", LABEL),
            (f"rpc_{SERVICE}_response", client.uuid),
            (f"rpc_{SCREENS}_request", ""),
            (f"rpc_{SCREENS}_response", announcer.uuid),
        ]
        calls: list[Callable[[], Any]] = [
            lambda: client.call.echo("good"),
            lambda: client.call(routing_key=LABEL).echo("good"),
            lambda: announcer.call.echo("good"),
        ]
        if [call() for call in calls] != ["good"] * 3:
            raise RuntimeError("the service does not work before the flood")
        memory = [_memory()]
        replies_to = [client.uuid, announcer.uuid, "nobody", None]
        with amqp.Connection(f"127.0.0.1:{broker.port}") as connection:
            channel = connection.channel()
            for number in range(1, count + 1):
                exchange, routing_key = chance.choice(targets)
                body, properties = _body(chance), _properties(chance, replies_to)
                channel.basic_publish(amqp.Message(body, **properties), exchange, routing_key)
                if number % BATCH == 0:
                    print(f"\r{number} messages", end="", file=sys.stderr, flush=True)
                    wait_until(lambda: _waiting(broker) < WAITING, 120, "the flood runs off")
                if number % (count // 4) == 0:
                    memory.append(_memory())
        print(file=sys.stderr)
        wait_until(lambda: _waiting(broker) == 0, 120, "every queue is empty")
        answers = [call() for call in calls]
        counted = {name: value for name, value in (server.stats() | screen.stats()).items() if value}
    well = answers == ["good"] * 3
    print(summary(count, counted, memory, well=well))
    return 0 if well else 1


def summary(count: int, counted: Mapping[str, int], memory: Sequence[float], *, well: bool) -> str:
    """Say what came of a flood.

    Args:
        count: how many messages were sent.
        counted: what the servers counted.
        memory: MiB of this process before the flood, and after each quarter of it.
        well: whether good calls were answered after it.
    """
    return "\n".join(
        [
            f"{count} messages; servers counted {counted}",
            f"memory before, and after each quarter: {' '.join(f'{each:.0f}' for each in memory)} MiB",
            f"good calls answered: {well}",
        ]
    )


def _memory() -> float:
    return float(psutil.Process().memory_info().rss) / 2**20


def _waiting(broker: Broker) -> int:
    return sum(queue.messages for queue in broker.queues().values())


def _body(chance: random.Random) -> bytes:
    good = json.dumps(GOOD).encode()
    kind = chance.randrange(8)
    if kind == 0:
        return chance.randbytes(chance.randrange(200))
    if kind == 1:
        return good[: chance.randrange(len(good))]
    if kind == 2:
        place = chance.randrange(len(good))
        return good[:place] + chance.randbytes(1) + good[place + 1 :]
    if kind == 3:
        depth = chance.choice([10, 1000, 100_000])
        return chance.choice([b"[", b'{"a":']) * depth
    if kind == 4:
        mistyped = dict(GOOD)
        mistyped[chance.choice(["func", "args", "kwargs", "more"])] = _value(chance)
        return json.dumps(mistyped).encode()
    if kind == 5:
        return json.dumps(
            chance.choice([{"result": _value(chance)}, {"exception": _value(chance)}, _value(chance)])
        ).encode()
    if kind == 6 and chance.random() < 0.01:
        return good[:-1] + b" " * OVERSIZED
    return good


def _value(chance: random.Random) -> Any:
    values = [None, True, 5, -1.5, 10**30, "echo", "", "\ud800", "__class__", [], [1], {}, {"type": "X", "args": 5}]
    return chance.choice(values)


def _properties(chance: random.Random, replies_to: list[str | None]) -> dict[str, Any]:
    properties = {
        "message_id": chance.choice([None, "", "id", str(chance.random()), "\x00" * 255]),
        "correlation_id": chance.choice([None, "other"]),
        "reply_to": chance.choice(replies_to),
        "content_type": chance.choice([None, "application/json", "application/x-python-serialize", "x" * 255]),
        "content_encoding": chance.choice([None, "utf-8", "gzip"]),
        "timestamp": chance.choice([None, 0, 2**63]),
        "application_headers": chance.choice([None, {}, {"x-amphora-deadline": chance.choice([0, "soon", -1])}]),
    }
    return {name: value for name, value in properties.items() if value is not None}


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000, help="how many messages (default: 100,000)")
    parser.add_argument("--seed", type=int, default=1, help="chooses them (default: 1)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
