"""A client of the chaos run, in a process of its own, which notes the fate of each of its calls.

Run with: broker URL, service, name of the process, directory for its notes, labels (with commas), seed, number of
greenlets, seconds that a call may take, options as JSON. It calls until SIGTERM, waits for the outcomes of all its
calls then, and says so; it takes what replies come after that, those to requests that ran twice, until another SIGTERM.
"""

from gevent import monkey

monkey.patch_all()

import json
import logging
import random
import signal
import sys
from itertools import count
from pathlib import Path

import gevent
from gevent.event import Event

from amphora import AmqpRpcClient, AmqpRpcException, RemoteException, Unroutable
from chaos.notes import Notes

#: Mean seconds between a call's end and the next call of the same greenlet.
PAUSE = 0.1
#: Sizes of the payloads, and how often each is taken.
SIZES = {10: 80, 2_000: 15, 60_000: 5}
#: Seconds that a function takes, and how often.
SECONDS = {0.0: 50, 0.01: 35, 0.2: 12, 2.0: 3}
#: Of so many calls, one is of a function that raises.
RAISING = 20


class Caller:
    """Calls again and again, and notes what becomes of it.

    Args:
        client: Makes the calls.
        notes: Takes the notes.
        name: The process's, in front of the requests' numbers.
        labels: Whose queues get every third call.
        timeout: Seconds that a call may take.
        chance: Where the variety comes from.
    """

    def __init__(
        self,
        client: AmqpRpcClient,
        notes: Notes,
        *,
        name: str,
        labels: list[str],
        timeout: float,
        chance: random.Random,
    ) -> None:
        self.ending = Event()
        self.calls = self.outcomes = 0
        self._client = client
        self._notes = notes
        self._name = name
        self._labels = labels
        self._timeout = timeout
        self._chance = chance
        self._numbers = count(1)

    def run(self) -> None:
        """Call until `ending` is set."""
        while not self.ending.wait(self._chance.expovariate(1 / PAUSE)):
            self._call(f"{self._name}-{next(self._numbers)}")

    def _call(self, request: str) -> None:
        chance = self._chance
        label = chance.choice(self._labels) if chance.randrange(3) == 0 else ""
        function = "fail" if chance.randrange(RAISING) == 0 else "work"
        text = "x" * chance.choices(list(SIZES), list(SIZES.values()))[0]
        seconds = chance.choices(list(SECONDS), list(SECONDS.values()))[0]
        send = self._client.defer(function_name=function, timeout=self._timeout, routing_key=label)
        self.calls += 1
        self._notes.add("sent", request, label)
        try:
            result = send(request, seconds, text)
            self._notes.add("confirmed", request)
            answer = result.get()
            right = function == "work" and answer == [request, text]
            self._notes.add("result" if right else "wrong", request, "" if right else str(answer)[:200])
        except RemoteException as error:
            right = function == "fail" and error.args == (request,)
            self._notes.add("raised" if right else "wrong", request, "" if right else error)
        except AmqpRpcException as error:
            self._notes.add("error", request, f"{type(error).__name__}: {error}")
            if isinstance(error, Unroutable) and label:
                # Somebody deleted the queue; whoever wants it makes it again.
                self._client.create_new_request_queue(label, nowait=True)
        self.outcomes += 1


def main() -> None:
    """Call until SIGTERM, say when each call has its outcome, and end with another SIGTERM."""
    url, service, name, directory, labels, seed, greenlets, timeout, options = sys.argv[1:]
    logging.basicConfig(
        filename=Path(directory) / f"{name}.log", level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    client = AmqpRpcClient(service, broker_url=url, **json.loads(options))
    for label in labels.split(","):
        client.create_new_request_queue(label, nowait=True)
    caller = Caller(
        client,
        Notes(Path(directory) / f"{name}.notes"),
        name=name,
        labels=labels.split(","),
        timeout=float(timeout),
        chance=random.Random(seed),
    )
    gone = Event()

    def end() -> None:
        (gone if caller.ending.is_set() else caller.ending).set()

    gevent.signal_handler(signal.SIGTERM, end)
    reporter = gevent.spawn(_report, client, caller)
    gevent.joinall([gevent.spawn(caller.run) for _ in range(int(greenlets))], raise_error=True)
    print("finished", flush=True)
    gone.wait()
    reporter.kill()
    _print_counts(client, caller)
    client.stop()


def _report(client: AmqpRpcClient, caller: Caller) -> None:
    while True:
        _print_counts(client, caller)
        gevent.sleep(1)


def _print_counts(client: AmqpRpcClient, caller: Caller) -> None:
    reconnects = client.stats()["reconnects"]
    print(f"reconnects={reconnects} calls={caller.calls} outcomes={caller.outcomes}", flush=True)


if __name__ == "__main__":
    main()
