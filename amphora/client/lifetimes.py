"""How long a call waits for its reply, and its request for a server: options, and the deadline inherited."""

from __future__ import annotations

from time import time
from typing import Any

from amphora.endpoint.current_request import current_deadline
from amphora.exceptions import NoResult, RequestStage
from amphora.protocol.deadlines import clipped
from amphora.value_checks import seconds

__all__ = ["Lifetime", "lifetime_of"]


#: Seconds that the caller waits, None for no limit; and the time (`time.time`) after which no server may begin to
#: run the request, None for any time.
Lifetime = tuple[float | None, float | None]


def lifetime_of(function: str, timeout: float | None, expires: Any) -> Lifetime:
    """Work out a call's lifetime.

    Args:
        function: Name of the remote function.
        timeout: Seconds that the caller gives it, or None.
        expires: The option of that name: None if it was not given, True for the timeout, seconds, or
            False for no deadline at all, not even an inherited one.

    Raises:
        NoResult: The deadline of the request that the calling function runs for, or of `call_deadline`, has passed.
        TypeError, ValueError: Not an option that makes sense.
    """
    if expires is False:
        return timeout, None
    inherited = current_deadline()
    if expires is None and inherited is None:
        return timeout, None
    wanted = None if expires is None else _seconds(timeout, expires)
    now = time()
    if inherited is None:
        return timeout, None if wanted is None else clipped(now + wanted)
    remaining = inherited - now
    if remaining <= 0:
        raise NoResult(
            f"No result from {function!r}: not sent, as the deadline of the request that it was called for has passed",
            stage=RequestStage.NOT_SENT,
            timeout=timeout,
            function=function,
        )
    return (
        remaining if timeout is None else min(timeout, remaining),
        clipped(inherited if wanted is None else min(inherited, now + wanted)),
    )


def _seconds(timeout: float | None, expires: Any) -> float:
    if expires is not True:
        return seconds("expires", expires)
    if timeout is None:
        raise ValueError("expires=True takes the timeout, and there is none: give expires in seconds")
    # A timeout of 0 is allowed: it only ever asks whether the request can be sent.
    return timeout
