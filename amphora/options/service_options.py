"""`ServiceOptions`: what clients and servers of a service have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from amphora.options.fields import Where, option
from amphora.options.message_options import MessageOptions
from amphora.options.settings import queue_type_of, tries_limit
from amphora.protocol.names import DEFAULT_QUEUE_TEMPLATE, Names, uuid_of
from amphora.protocol.signatures import SIGNATURE_VERSIONS, check_versions
from amphora.value_checks import at_least_one

__all__ = ["ServiceOptions"]


def _uuid_of(name: str, value: Any) -> str | None:  # noqa: ARG001  (the errors name it)
    return None if value is None else uuid_of(value)


def _template_of(name: str, value: Any) -> str:  # noqa: ARG001  (the errors name it)
    return Names("service", value).queue_template


def _queue_type_of(name: str, value: Any) -> str:  # noqa: ARG001  (the errors name it)
    return queue_type_of(value)


def _delivery_limit_of(name: str, value: Any) -> int | None:  # noqa: ARG001  (the errors name it)
    tries_limit(value, "quorum")
    return value  # type: ignore[no-any-return]


def _versions_of(name: str, value: Any) -> Sequence[int]:  # noqa: ARG001  (the errors name it)
    check_versions(value)
    return value  # type: ignore[no-any-return]


@dataclass(frozen=True, kw_only=True)
class ServiceOptions(MessageOptions):
    """What clients and servers of a service have in common: its queues, and who they are."""

    uuid: str | None = option(
        client="Identifier of this client, part of its response queue's name; by default a random one. A new client "
        "with the uuid of a former one takes over its response queue, and drops the replies to the former one's calls. "
        "Two clients must not use the same one at the same time: they would receive each other's replies (a warning is "
        "logged).",
        server="Identifier of this server; by default a random one. A fan-out server's queue bears it.",
        default=None,
        check=_uuid_of,
        # Each process of Celery has one of its own.
        where=Where.CONSTRUCTOR | Where.DJANGO,
        summary="Identifier; leave it out, so that every process makes its own",
    )
    queue_template: str = option(
        "Template of label queues' names, with ``{label}`` and perhaps ``{namespace}``; the same on client and server.",
        default=DEFAULT_QUEUE_TEMPLATE,
        check=_template_of,
    )
    queue_type: str = option(
        '``"auto"``: queues that exist are used as they are; new ones are quorum queues on RabbitMQ 4, if they last, '
        "and classic otherwise (responses, broadcasts, label queues with ``x_expires``). A classic queue of RabbitMQ 4 "
        'confirms messages before they are on disk. ``"classic"`` or ``"quorum"`` for all queues: quorum queues '
        "outlive the loss of a node of a cluster. A program that names the type gets a `TopologyConflict` where a "
        "queue has the other one. See docs/operations.md.",
        default="auto",
        check=_queue_type_of,
        flags=("--queue-type",),
        summary='`"auto"`: what [suits the broker](operations.md#queue-types). `"classic"`, or `"quorum"` for queues '
        "that [outlive the loss of a node](clusters.md#queue-types)",
    )
    delivery_limit: int | None = option(
        client='See `AmqpRpcServer`. Queues are declared differently for it with ``queue_type="quorum"`` only: then it '
        "must be the same there and here.",
        server="How many tries a request has that is not finished, because its server dies or loses its connection, or "
        "its function ignores it; at least 2. After that it is dead-lettered to the queue "
        "``rpc_{service_name}_dead``, and its caller gets `DeadLettered`. 0 for any number. By default 20 with "
        '``queue_type="quorum"``, and any number otherwise.',
        default=None,
        check=_delivery_limit_of,
        flags=("--delivery-limit",),
        summary="Tries of a request before it is [given up](dead-letters.md); 0 for any number, `None` for 20 with "
        '`queue_type` `"quorum"` and any number otherwise',
    )
    signature_versions: Sequence[int] = option(
        client="With ``signing_keys``, versions of the signature that requests get and that are accepted in replies. "
        "Version 1 is that of Amphora 1.0.0a1. Pass ``(2,)`` when no server of that release is left; 1.1 will have "
        "that as its default.",
        server="With ``signing_keys``, versions of the signature that are accepted. Version 1 is that of Amphora "
        "1.0.0a1, and does not cover the routing key and most headers. Pass ``(2,)`` when no client of that release is "
        "left; 1.1 will have that as its default.",
        default=SIGNATURE_VERSIONS,
        check=_versions_of,
        summary="Versions of the signature that are [accepted](security.md#versions)",
    )
    max_message_size: int = option(
        client="Bytes of one request's body; RabbitMQ's own limit is 128 MiB until 4.0, 16 MiB since.",
        server="Bytes of one reply's body; RabbitMQ's own limit is 128 MiB until 4.0, 16 MiB since.",
        default=128 * 1024 * 1024,
        check=at_least_one,
        summary="Bytes of one message's body; RabbitMQ's own limit is 128 MiB until 4.0, 16 MiB since",
    )

    @cached_property
    def names(self) -> Names:
        """The names of the service's queues and exchanges."""
        return Names(self.service_name, self.queue_template)
