"""A program that gevent has not patched, which stops its client while results are outstanding, and tells what came."""

import json
import sys
import threading
import time
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any

from amphora import AmqpRpcException, ThreadedClient


def outcome(result: Any) -> str:
    """What a deferred result ends with."""
    try:
        return f"value {result.get(timeout=5)}"
    except FutureTimeoutError:
        return "hangs"
    except AmqpRpcException as error:
        return f"{type(error).__name__}: {error}"


def main() -> None:
    """Print a line of JSON, and end with a result outstanding in a thread."""
    url, service = sys.argv[1:]
    client = ThreadedClient(service, broker_url=url)
    results = {
        "with a timeout": client.defer(timeout=3).nobody_serves_this(),
        "without a timeout": client.defer(timeout=None).nobody_serves_this(),
        "not waited for": client.defer(wait_publish=False, timeout=60).nobody_serves_this(),
    }
    told: list[str] = []
    results["with a timeout"].add_done_callback(lambda result: told.append(type(result.exception).__name__))
    began = time.monotonic()
    client.stop()
    seconds = time.monotonic() - began
    looks = {
        "calls": client.stats()["calls"],
        "connected": client.connected,
        "state": client.state,
        "ready": client.health().ready,
        "confirmed": client.confirm_times().count,
        "threads": threading.active_count(),
    }
    print(
        json.dumps(
            {
                "outcomes": {name: outcome(each) for name, each in results.items()},
                "seconds": seconds,
                "told": told,
                "looks": looks,
            }
        ),
        flush=True,
    )

    left = client.defer(timeout=None).nobody_serves_this()

    def wait() -> None:
        print(f"at the end: {outcome(left)}", flush=True)

    # A thread that the end of the program does not wait for: what it waits for ends before the interpreter does.
    threading.Thread(target=wait, daemon=True).start()
    left.add_done_callback(lambda _: time.sleep(0.5))


if __name__ == "__main__":
    main()
