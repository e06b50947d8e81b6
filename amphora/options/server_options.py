"""`ServerOptions`: what `AmqpRpcServer` can be told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from amphora.options.fields import Where, option
from amphora.options.service_options import ServiceOptions
from amphora.options.settings import OutboxLimits
from amphora.protocol.names import uuid_of
from amphora.value_checks import at_least_one, boolean, concurrency_of, milliseconds, seconds, seconds_or_zero

__all__ = ["ServerOptions"]


def _concurrency_of(name: str, value: Any) -> int:
    return concurrency_of(value, name)


def _window_of(name: str, value: Any) -> float | None:
    return None if value is None else seconds(name, value)


def _expiry_of(name: str, value: Any) -> float:
    milliseconds(name, value)
    return value  # type: ignore[no-any-return]


def _middleware_of(name: str, value: Any) -> tuple[Callable[..., Any], ...]:  # noqa: ARG001  (the server checks them)
    return tuple(value)


@dataclass(frozen=True, kw_only=True)
class ServerOptions(ServiceOptions):
    """What `AmqpRpcServer` can be told."""

    role: ClassVar[str] = "server"

    concurrency: int = option(
        "How many requests run at the same time, of all queues together; also how many the broker sends ahead.",
        default=100,
        check=_concurrency_of,
        flags=("--concurrency",),
    )
    signature_window: float | None = option(
        "With ``signing_keys``, seconds for which a request is accepted after it was signed, by the clocks of both "
        "machines: longer than requests may wait, in an outbox or in a queue. None for any time.",
        default=300.0,
        check=_window_of,
        summary="Seconds for which a signed request is accepted; `None` for any time",
    )
    ignore_delay: float = option(
        "Seconds to wait before a request that a function ignores again and again is given back to the queue. While it "
        "waits it counts among the ``concurrency`` requests that the broker sends ahead: as many requests that no "
        "server ever accepts keep out all others.",
        default=1.0,
        check=seconds_or_zero,
    )
    remember_count: int = option(
        "How many finished requests are remembered, so that none runs twice.", default=10_000, check=at_least_one
    )
    remember_bytes: int = option(
        "Bytes that their replies may take together. Beyond that the oldest replies are dropped; the requests stay "
        "remembered.",
        default=16 * 1024 * 1024,
        check=at_least_one,
    )
    remember_seconds: float = option("Seconds for which they are remembered.", default=300.0, check=seconds)
    send_tracebacks: bool = option(
        "Whether a remote exception carries its traceback; off by default, as it shows the server's inside to its "
        "clients.",
        default=False,
        check=boolean,
    )
    introspection: bool = option(
        "Whether to answer `AmqpRpcClient.inspect` and calls of the reserved functions ``amphora.ping``, "
        "``amphora.functions``, ``amphora.stats`` and ``amphora.health``: who and where this server is, its functions "
        "with their docstrings, its counts, how it is. A server that is not fan-out has a queue "
        "``rpc_{service_name}_{uuid}_control`` for it, and does without where it lacks the permission.",
        default=True,
        check=boolean,
        summary="Whether servers [tell about themselves](introspection.md)",
    )
    fanout_queue_expires: float = option(
        "Seconds that the broker keeps the queue of a fan-out server that is not connected.",
        default=60.0,
        check=_expiry_of,
    )
    #: Middleware of the program that starts others, see `override_arguments`.
    outermost_middleware: Sequence[Callable[..., Any]] = option(
        "Middleware around that of the program.", default=(), check=_middleware_of, where=Where.OVERRIDE
    )

    def check_together(self) -> None:
        """Check what no field can tell by itself.

        Raises:
            ValueError: Values contradict each other, or make a name too long for AMQP.
        """
        super().check_together()
        self.names.fanout_queue(uuid_of(self.uuid))

    @property
    def fanout_queue_milliseconds(self) -> int:
        """How long the broker keeps the queue of a fan-out server that is not connected."""
        return milliseconds("fanout_queue_expires", self.fanout_queue_expires)

    @property
    def outbox_limits(self) -> OutboxLimits:
        """How much may wait for the broker's confirmation."""
        return OutboxLimits(message_size=self.max_message_size)
