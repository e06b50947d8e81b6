"""A server of the chaos run, in a process of its own, which notes each run of its function.

Run with: broker URL, service, name of the process, directory for its notes, labels (with commas), options as JSON.
"""

from gevent import monkey

monkey.patch_all()

import json
import logging
import sys
from pathlib import Path

import gevent

from amphora import AmqpRpcServer, Serving, current_request
from chaos.notes import Notes

GRACE = 20.0


def main() -> None:
    """Serve until SIGTERM, which lets the running functions finish."""
    url, service, name, directory, labels, options = sys.argv[1:]
    logging.basicConfig(
        filename=Path(directory) / f"{name}.log", level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    notes = Notes(Path(directory) / f"{name}.notes")
    server = AmqpRpcServer(service, broker_url=url, **json.loads(options))

    @server.add_function
    def work(request: str, seconds: float, text: str) -> list[str]:
        running = current_request()
        again = running is not None and running.redelivered
        notes.add("begin", request, "redelivered" if again else "first")
        gevent.sleep(seconds)
        notes.add("end", request)
        return [request, text]

    @server.add_function
    def fail(request: str, seconds: float, text: str) -> None:
        work(request, seconds, text)
        raise ValueError(request)

    gevent.spawn(_report, server)
    serving = Serving()
    serving.add(server, labels=labels.split(","), grace=GRACE)
    serving.run()
    print(f"reconnects={server.stats()['reconnects']}", flush=True)


def _report(server: AmqpRpcServer) -> None:
    while True:
        print(f"reconnects={server.stats()['reconnects']}", flush=True)
        gevent.sleep(1)


if __name__ == "__main__":
    main()
