"""`ClientOptions`: what `AmqpRpcClient` can be told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from amphora.options.brokers import user_of
from amphora.options.fields import Where, option
from amphora.options.service_options import ServiceOptions
from amphora.options.settings import OutboxLimits, tries_limit
from amphora.protocol.names import uuid_of
from amphora.value_checks import at_least_one, boolean, milliseconds, seconds_or_zero, timeout_of

__all__ = ["ClientOptions"]


def _timeout_of(name: str, value: Any) -> float | None:
    return timeout_of(value, name)


def _expiry_of(name: str, value: Any) -> float:
    milliseconds(name, value)
    return value  # type: ignore[no-any-return]


@dataclass(frozen=True, kw_only=True)
class ClientOptions(ServiceOptions):
    """What `AmqpRpcClient` can be told."""

    role: ClassVar[str] = "client"

    timeout: float | None = option(
        "Default seconds that a call may take, from the call to the reply; None for no limit.",
        default=60,
        check=_timeout_of,
    )
    autostart: bool = option(
        "Whether to `serve` at once; otherwise requests are held until `serve`.",
        default=True,
        check=boolean,
        # With Celery, clients start when they are used.
        where=Where.CONSTRUCTOR | Where.DJANGO,
        summary="Connect on first use; otherwise requests wait for `client.serve()`",
    )
    identify: bool = option(
        "Whether requests carry the name of the broker's user, as AMQP's ``user_id``, which RabbitMQ checks: servers "
        "find it in `CurrentRequest.user`, and functions can be restricted to users with `require_user`.",
        default=False,
        check=boolean,
        flags=("--identify",),
        summary="Whether requests carry the name of the broker's user, for [`require_user`](security.md#users)",
    )
    declare: bool = option(
        "Whether to declare the service's exchanges and request queue. False for a user who may only use what a server "
        "has declared: the client declares its own response queue, and waits for the rest.",
        default=True,
        check=boolean,
        summary="Whether to declare the service's exchanges and request queue; `False` for a user who "
        "[may not](security.md#permissions)",
    )
    response_queue_expires: float = option(
        "Seconds that the broker keeps the response queue of a client that is not connected.",
        default=1800.0,
        check=_expiry_of,
    )
    outbox_max_count: int = option(
        "Requests that may await the broker's confirmation.", default=10_000, check=at_least_one
    )
    outbox_max_bytes: int = option("Bytes of their bodies.", default=64 * 1024 * 1024, check=at_least_one)
    exit_timeout: float = option(
        "Seconds for which the exit of the process waits until the broker has confirmed the requests that were "
        "deferred with ``wait_publish=False``, or whose callers have given up. Those that it has not confirmed by then "
        "are lost, and an ERROR record says how many there are and which functions they call.",
        default=5.0,
        check=seconds_or_zero,
        summary="Seconds that the exit of the process waits for "
        "[unconfirmed requests](reliability.md#requests-at-exit)",
    )

    def check_together(self) -> None:
        """Check what no field can tell by itself.

        Raises:
            ValueError: Values contradict each other, or make a name too long for AMQP.
        """
        super().check_together()
        self.names.response_queue(uuid_of(self.uuid))
        if self.identify:
            user_of(self.brokers)

    @property
    def user(self) -> str | None:
        """The user that requests are sent as, if they name one."""
        return user_of(self.brokers) if self.identify else None

    @property
    def tries(self) -> int | None:
        """How many tries a request has; None for any number."""
        return tries_limit(self.delivery_limit, self.queue_type)

    @property
    def response_queue_milliseconds(self) -> int:
        """How long the broker keeps the response queue of a client that is not connected."""
        return milliseconds("response_queue_expires", self.response_queue_expires)

    @property
    def outbox_limits(self) -> OutboxLimits:
        """How much may wait for the broker's confirmation."""
        return OutboxLimits(self.outbox_max_count, self.outbox_max_bytes, self.max_message_size)
