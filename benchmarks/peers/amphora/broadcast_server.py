"""Twenty (or so many) servers of a fan-out service in one process, and one that counts what they ran."""

from gevent import monkey

monkey.patch_all()

import sys

from gevent.event import Event

from amphora import AmqpRpcFanoutServer, AmqpRpcServer

SERVICE = "bench_amphora_broadcast"
COUNTER = "bench_amphora_broadcast_counter"


class Count:
    """How often the servers ran the function, to be waited for."""

    def __init__(self) -> None:
        self._count = 0
        self._wanted = 0
        self._reached = Event()

    def echo(self, value: str) -> str:
        self._count += 1
        if self._count >= self._wanted:
            self._reached.set()
        return value

    def wait_for(self, count: int) -> int:
        self._wanted = count
        self._reached.clear()
        if self._count < count:
            self._reached.wait()
        return self._count


def main(broker_url: str, servers: int) -> None:
    count = Count()
    counter = AmqpRpcServer(COUNTER, broker_url=broker_url)
    counter.add_function(count.wait_for)
    fanout = [AmqpRpcFanoutServer(SERVICE, broker_url=broker_url) for _ in range(servers)]
    for server in fanout:
        server.add_function(count.echo)
    for server in [*fanout, counter]:
        server.serve()
        if not server.wait_connected(30):
            raise TimeoutError("no connection to the broker in 30 s")
    print("ready", flush=True)
    counter.serve(nowait=False)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
