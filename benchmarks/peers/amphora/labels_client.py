"""Makes many label queues, has the server take requests from all, and spreads calls over them."""

from gevent import monkey

monkey.patch_all()

import json
import sys
import time
from collections.abc import Callable, Iterable

import gevent
import psutil
from gevent.pool import Pool

from amphora import AmqpRpcClient
from peers.amphora.labels_server import SERVICE

_CALLS = 5000
_IN_FLIGHT = 100


def main(broker_url: str, labels: int, server: psutil.Process) -> None:
    client = AmqpRpcClient(SERVICE, broker_url=broker_url, timeout=100)
    payload = "x" * 100
    turns = iter(range(max(_CALLS, labels)))
    count = max(_CALLS, labels)

    def work() -> None:
        for turn in turns:
            assert client.call(routing_key=str(turn % labels)).echo(payload) == payload

    client.call.echo(payload)
    created = _seconds(lambda: _each(client.create_new_request_queue, labels))
    before = server.memory_info().rss
    subscribed = _seconds(lambda: client.call.subscribe(labels))
    after = server.memory_info().rss
    called = _seconds(lambda: gevent.joinall([gevent.spawn(work) for _ in range(_IN_FLIGHT)], raise_error=True))
    ended = _seconds(lambda: client.call.unsubscribe(labels))
    removed = _seconds(lambda: _each(client.remove_request_queue, labels))
    figures = {
        f"calls/s spread over {labels} label queues": count / called,
        f"ms per label queue created, {labels} of them": created / labels * 1000,
        f"ms per label queue subscribed to, {labels} of them": subscribed / labels * 1000,
        f"ms per subscription ended, {labels} of them": ended / labels * 1000,
        f"ms per label queue removed, {labels} of them": removed / labels * 1000,
        f"kB of the server per subscription, {labels} of them": (after - before) / labels / 1000,
    }
    print(json.dumps(figures))
    client.stop()


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _each(work: Callable[[str], None], labels: int) -> None:
    """Many at once: the broker does them one after the other, but nobody waits for each answer."""
    names: Iterable[str] = map(str, range(labels))
    for _ in Pool(100).imap_unordered(work, names):
        pass


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), psutil.Process(int(sys.argv[3])))
