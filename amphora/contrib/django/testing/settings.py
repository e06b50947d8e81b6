"""The setting ``AMPHORA`` as it is in tests: everything on ``memory://``, under names of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import count
from typing import Any

__all__ = ["on_memory"]

#: What says where the broker is and how it is reached, or has no meaning where there is none.
_OF_A_BROKER = frozenset(
    {
        "BROKER_URL",
        "AMQP_HOST",
        "AMQP_PORT",
        "AMQP_USER",
        "AMQP_PASSWORD",
        "AMQP_VHOST",
        "SSL",
        "SHUFFLE_BROKERS",
        "AUTOSTART",
        "THREADED",
        "DECLARE",
        "UUID",
    }
)

#: The end of a name that was given here before: for a test's class, and then for the test.
_NUMBERED = re.compile(r"-test-\d+$")

#: With a `CONCURRENCY` of 1, a function that defers a call would wait for one that waits for it.
_OF_A_SERVER = frozenset({"CONCURRENCY"})

_numbers = count(1)


def on_memory(amphora: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the setting for one test.

    The queues of ``memory://`` live as long as the process. So each call gives other names of services and queues, and
    no test finds what another one has left behind.

    Args:
        amphora: The setting as the project has it.
    """
    # A number for each alias: two may stand for services of one name, on different brokers.
    return {alias: _of_one(options, next(_numbers)) for alias, options in amphora.items()}


def _of_one(options: Mapping[str, Any], number: int) -> dict[str, Any]:
    kept = {name: value for name, value in options.items() if name not in _OF_A_BROKER | _OF_A_SERVER}
    if "SERVICE_NAME" in kept:
        name = _NUMBERED.sub("", str(kept["SERVICE_NAME"]))
        kept["SERVICE_NAME"] = f"{name}-test-{number}"
    if "{namespace}" not in kept.get("QUEUE_TEMPLATE", ""):
        kept["QUEUE_TEMPLATE"] = "rpc_{namespace}_queue_{label}"
    return {**kept, "BROKER_URL": "memory://"}
