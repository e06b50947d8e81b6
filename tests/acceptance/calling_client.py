"""A client for a process of its own, which notes the fate of each of its calls in a file.

Run with: broker URL, service, path of the file, the first number, the end, the step, and the client's options as JSON.
It calls ``work(number)`` for each number, many at once, and prints how many have their outcome from time to time.
"""

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402
import logging  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402

from gevent.pool import Pool  # noqa: E402

from amphora import AmqpRpcClient, AmqpRpcException  # noqa: E402

IN_FLIGHT = 60
REPORT_EVERY = 100


def main() -> None:
    """Make all calls, and end when each has its outcome."""
    url, service, path, first, end, step, options = sys.argv[1:]
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    client = AmqpRpcClient(service, broker_url=url, **json.loads(options))
    done = 0
    with Path(path).open("w", buffering=1) as notes:

        def call(number: int) -> None:
            nonlocal done
            try:
                result = client.defer.work(number)
                notes.write(f"confirmed {number}\n")
                notes.write(f"result {number} {result.get()}\n")
            except AmqpRpcException as error:
                notes.write(f"error {number} {type(error).__name__}: {error}\n")
            done += 1
            if done % REPORT_EVERY == 0:
                print(f"outcomes: {done}", flush=True)

        pool = Pool(IN_FLIGHT)
        for number in range(int(first), int(end), int(step)):
            pool.spawn(call, number)
        pool.join(raise_error=True)
    client.stop()
    print(f"finished: {done}", flush=True)


if __name__ == "__main__":
    main()
