"""A server for a process of its own, whose functions note each of their runs in a file.

Run with: broker URL, service, path of the file, and the server's options as JSON.
"""

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402
import os  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402

import gevent  # noqa: E402

from amphora import AmqpRpcServer, Serving  # noqa: E402


def main() -> None:
    """Serve until SIGTERM, which lets the running functions finish."""
    url, service, runs, options = sys.argv[1:]
    server = AmqpRpcServer(service, broker_url=url, **json.loads(options))
    # One write of a line to a file opened for appending is whole, also when the process is killed after it.
    file = os.open(runs, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(what: str, number: int) -> None:
        os.write(file, f"{what} {number} {os.getpid()}\n".encode())

    @server.add_function
    def work(number: int, seconds: float = 0.005) -> int:
        note("begin", number)
        gevent.sleep(seconds)
        note("end", number)
        return number

    @server.add_function
    def work_until(number: int, path: str) -> int:
        note("begin", number)
        while not Path(path).exists():
            gevent.sleep(0.01)
        note("end", number)
        return number

    @server.add_function
    def burn(seconds: float) -> float:
        end = os.times().elapsed + seconds
        while os.times().elapsed < end:
            pass
        return seconds

    @server.add_function
    def exit_at_once(number: int) -> None:
        note("begin", number)
        os._exit(1)

    @server.add_function
    def kill_itself(number: int) -> None:
        note("begin", number)
        os.kill(os.getpid(), signal.SIGKILL)

    serving = Serving(on_ready=lambda: print("ready", flush=True))
    serving.add(server, grace=20)
    serving.run()


if __name__ == "__main__":
    main()
