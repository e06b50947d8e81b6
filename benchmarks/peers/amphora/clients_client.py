"""Many clients in one process: what each costs while it is idle, and how fast they are together."""

from gevent import monkey

monkey.patch_all()

import json
import sys
import time

import gevent
import psutil

from amphora import AmqpRpcClient

SERVICE = "bench_amphora"
_SECONDS = 1.0
_UNANSWERED = 5000


def main(broker_url: str, count: int) -> None:
    process = psutil.Process()
    payload = "x" * 100
    first = AmqpRpcClient(SERVICE, broker_url=broker_url)
    first.call.echo(payload)
    before = process.memory_info().rss
    clients = [AmqpRpcClient(SERVICE, broker_url=broker_url) for _ in range(count)]
    gevent.joinall([gevent.spawn(client.call.echo, payload) for client in clients], raise_error=True)
    each = (process.memory_info().rss - before) / count

    calls = 0
    started = time.perf_counter()

    def work(client: AmqpRpcClient) -> None:
        nonlocal calls
        while time.perf_counter() - started < _SECONDS:
            client.call.echo(payload)
            calls += 1

    gevent.joinall([gevent.spawn(work, client) for client in clients], raise_error=True)
    seconds = time.perf_counter() - started
    figures = {
        f"calls/s of {count} clients in one process, one call in flight each": calls / seconds,
        f"kB per idle client, {count} of them": each / 1000,
        f"bytes per call in flight, {_UNANSWERED} of them": _memory_per_call(broker_url, payload),
    }
    print(json.dumps(figures))
    for client in [first, *clients]:
        client.stop()


def _memory_per_call(broker_url: str, payload: str) -> float:
    """Memory of calls that nobody answers: their service has a queue and no server."""
    client = AmqpRpcClient("bench_amphora_unanswered", broker_url=broker_url)
    client.create_new_request_queue("nobody", x_expires=60_000)
    process = psutil.Process()

    def send(_: int) -> object:
        return client.defer(routing_key="nobody").echo(payload)

    kept = [send(turn) for turn in range(100)]
    before = process.memory_info().rss
    jobs = [gevent.spawn(send, turn) for turn in range(_UNANSWERED)]
    gevent.joinall(jobs, raise_error=True)
    kept += [job.value for job in jobs]
    del jobs
    each = (process.memory_info().rss - before) / _UNANSWERED
    client.remove_request_queue("nobody")
    client.stop()
    return each


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
