"""The queue type that the benchmark of queue types asks for, and a service of its own for each."""

import os

VARIABLE = "AMPHORA_BENCH_QUEUE_TYPE"


def queue_type() -> str:
    """The type that this process is to use."""
    return os.environ.get(VARIABLE, "auto")


def service_of(service: str) -> str:
    """The name of the service with that type: queues that exist keep theirs."""
    given = os.environ.get(VARIABLE)
    return service if given is None else f"{service}_{given}"
