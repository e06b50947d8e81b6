"""Broadcasts, and waits until every server has run every one."""

from gevent import monkey

monkey.patch_all()

import json
import sys
import time

import gevent

from amphora import AmqpRpcClient, AmqpRpcFanoutClient
from peers.amphora.broadcast_server import COUNTER, SERVICE

_BROADCASTS = 500
_IN_FLIGHT = 20


def main(broker_url: str, servers: int) -> None:
    client = AmqpRpcFanoutClient(SERVICE, broker_url=broker_url)
    counter = AmqpRpcClient(COUNTER, broker_url=broker_url)
    payload = "x" * 100
    client.call.echo(payload)
    counter.call.wait_for(servers)
    turns = iter(range(_BROADCASTS))

    def work() -> None:
        for _ in turns:
            client.call.echo(payload)  # returns with the first reply

    started = time.perf_counter()
    gevent.joinall([gevent.spawn(work) for _ in range(_IN_FLIGHT)], raise_error=True)
    replied = time.perf_counter() - started
    count = counter.call.wait_for(servers * (_BROADCASTS + 1))
    seconds = time.perf_counter() - started
    assert count == servers * (_BROADCASTS + 1), count
    figures = {
        f"broadcasts to {servers} servers per second, until all have run them": _BROADCASTS / seconds,
        f"broadcasts to {servers} servers per second, until the first replies": _BROADCASTS / replied,
    }
    print(json.dumps(figures))
    client.stop()
    counter.stop()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
