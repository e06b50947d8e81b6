"""A client and a server under traffic that a signal interrupts; tells where it was raised, and whether both go on."""

from gevent import monkey

monkey.patch_all()

import os  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
from types import FrameType  # noqa: E402

import gevent  # noqa: E402
from gevent.threadpool import ThreadPool  # noqa: E402

from amphora import AmqpRpcClient, AmqpRpcException, AmqpRpcServer  # noqa: E402

real_sleep = monkey.get_original("time", "sleep")


class Stop(Exception):
    """What the program's handler of SIGUSR1 raises."""


def handle(number: int, frame: FrameType | None) -> None:
    """Handle SIGUSR1 as a program may: its main greenlet catches this."""
    raise Stop


def main() -> None:
    """Print one line: where the signal's exception came out, and whether calls work afterwards."""
    url, service, kind, delay = sys.argv[1:]
    number = signal.SIGINT if kind == "SIGINT" else signal.SIGUSR1
    signal.signal(signal.SIGUSR1, handle)
    server = AmqpRpcServer(service, broker_url=url)
    server.add_function(lambda left, right: left + right, name="add")
    server.serve()
    client = AmqpRpcClient(service, broker_url=url, timeout=20)
    client.call.add(1, 2)
    in_callers: list[BaseException] = []
    over = False

    def call() -> None:
        while not over:
            try:
                client.call.add(1, 2)
            except AmqpRpcException:
                gevent.sleep(0.01)
            except Stop as error:
                # The program's own code was running.
                in_callers.append(error)
                return

    def interrupt() -> None:
        real_sleep(float(delay))
        os.kill(os.getpid(), number)

    callers = [gevent.spawn(call) for _ in range(8)]
    where = "swallowed"
    try:
        ThreadPool(1).spawn(interrupt)
        gevent.sleep(float(delay) + 1.5)
    except (Stop, KeyboardInterrupt):
        where = "main"
    if in_callers:
        where = "caller"
    over = True
    gevent.joinall(callers, timeout=25)
    results = [client.call.add(number, 1) for number in range(3)]
    for endpoint in (client, server):
        with gevent.Timeout(0, False):
            endpoint.stop()
        endpoint.serve()
    print(f"{where} {results} {client.call.add(4, 4)}", flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
