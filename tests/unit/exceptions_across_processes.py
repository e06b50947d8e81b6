"""An example of every exception; as a program, it sends them to another process and has them raised there."""

import json
import multiprocessing
from typing import Any

from amphora import exceptions
from amphora.exceptions import AmqpRpcException, RequestStage

IDS: dict[str, Any] = {"function": "add", "request_id": "c0ffee-1"}
DETAILS: dict[str, Any] = {**IDS, "reply_code": 403, "reply_text": "ACCESS_REFUSED - no", "advice": "ssl=..."}
ROUTE: dict[str, Any] = {"exchange": "rpc_math_request", "routing_key": "x"}

OF: dict[str, dict[str, Any]] = {
    "AccessRefused": {**DETAILS, "login_failed": True},
    "Backlogged": {**IDS, "messages": 3, "size": 12},
    "BrokerError": DETAILS,
    "BrokerUnreachable": {**DETAILS, "errno": 111, "tls": True},
    "MessageRejected": DETAILS,
    "MessageTooLarge": {**DETAILS, "size": 12, "limit": 10},
    "NoResult": {**IDS, "stage": RequestStage.SENT, "timeout": 2.5},
    "PublishNacked": {**DETAILS, **ROUTE},
    "TopologyConflict": DETAILS,
    "Unroutable": {**IDS, **ROUTE},
    "VhostNotFound": DETAILS,
}


def examples() -> list[AmqpRpcException]:
    """Return one of each, with a value for all of its attributes."""
    found = []
    for name in sorted(set(exceptions.__all__) - {"RemoteException", "RequestStage"}):
        found.append(getattr(exceptions, name)("what", {"else": [1]}, **OF.get(name, IDS)))
    remote = exceptions.RemoteException("ValueError", ["x", {"y": [1]}], "Traceback ...")
    remote.function, remote.request_id = IDS["function"], IDS["request_id"]
    found.append(remote)
    return sorted(found, key=lambda each: type(each).__name__)


def described(error: BaseException) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
    """Return what has to be the same of a copy."""
    return type(error).__name__, error.args, dict(sorted(vars(error).items()))


def raised(error: AmqpRpcException) -> None:
    """Raise it."""
    raise error


def main() -> None:
    found = []
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        for each in examples():
            passed = repr(pool.apply(described, (each,)))
            try:
                pool.apply(raised, (each,))
            except AmqpRpcException as error:
                found.append([passed, repr(described(error))])
    print(json.dumps(found))


if __name__ == "__main__":
    main()
