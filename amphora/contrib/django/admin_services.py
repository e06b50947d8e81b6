"""What the admin shows of a service: its settings, its functions, and how its queues are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_lazy as _

from amphora import AmqpRpcException, BrokerUnreachable, QueueStatus
from amphora.contrib.django.conf import ServiceSettings
from amphora.contrib.django.endpoints import clients
from amphora.contrib.django.functions import ListedFunction, remote_functions
from amphora.contrib.django.process import not_patched

__all__ = [
    "Functions",
    "Queue",
    "Queues",
    "cannot_call",
    "functions_of",
    "queues_of",
]

#: Seconds that the broker has to answer; the page is shown without its answer after that.
STATUS_TIMEOUT = 2.0


@dataclass(frozen=True)
class Functions:
    """The functions of a service that this project defines.

    Args:
        known: The functions, in the order of their names.
        problem: Why they are not known; None if they are.
    """

    known: Sequence[ListedFunction]
    problem: str | None = None


@dataclass(frozen=True)
class Queue:
    """A queue on the broker.

    Args:
        name: Its name there.
        status: Messages and consumers; None if there is no such queue.
        answered: Whether the broker answered about it.
    """

    name: str
    status: QueueStatus | None
    answered: bool = True


@dataclass(frozen=True)
class Queues:
    """The queues of a service, as far as AMQP tells.

    Args:
        broker: Address of the broker, without the password; empty if it is not known.
        all: The queues.
        problem: Why nothing is known of them; None if something is.
    """

    broker: str = ""
    all: tuple[Queue, ...] = ()
    problem: str | None = None


def cannot_call(services: Iterable[ServiceSettings]) -> str | None:
    """Say why this process can make no calls to one or more of the services, and what to do; None if it can."""
    refused = [service for service in services if not service.threaded]
    why = not_patched() if refused else None
    if why is None:
        return None
    settings = ", ".join(f"AMPHORA[{service.alias!r}]['THREADED'] = True" for service in refused)
    return f"{why}\n\n{_('Or let calls wait in threads:')} {settings}"


def functions_of(alias: str) -> Functions:
    """Describe the functions that the project's handlers add to a service.

    Args:
        alias: Alias of the service.
    """
    try:
        found = remote_functions(alias)
    except ImproperlyConfigured as error:
        # Of modules that cannot be imported too.
        return Functions([], str(error))
    return Functions(found)


def queues_of(services: Iterable[ServiceSettings]) -> dict[str, Queues]:
    """Ask the broker how the queues of services are, of all at the same time.

    Args:
        services: Settings of the services.

    Returns:
        By alias; what the broker did not tell within two seconds has a `Queues.problem`.
    """
    wanted = list(services)
    if not wanted:
        return {}
    # Greenlets in a process that gevent has patched.
    with ThreadPoolExecutor(len(wanted), thread_name_prefix="amphora-admin") as threads:
        return dict(zip((each.alias for each in wanted), threads.map(_queues_of, wanted), strict=True))


def _queues_of(service: ServiceSettings) -> Queues:
    if cannot_call([service]) is not None:
        return Queues(problem=_("Not known in this process."))
    broker = ""
    try:
        client = clients[service.alias]
        broker = client.broker
        found = _queues_of_client(client)
        if service.queues:
            found += _queues_of_client(client, *service.queues)
    except BrokerUnreachable:
        return Queues(broker, problem=_("Broker not reachable."))
    except (AmqpRpcException, ImproperlyConfigured, RuntimeError, TypeError, ValueError) as error:
        # All but the first are about the settings, or the process.
        return Queues(broker, problem=f"{type(error).__name__}: {error}")
    return Queues(broker, tuple(found))


def _queues_of_client(client: Any, *labels: str) -> list[Queue]:
    """Ask for queues; the broker may not answer about one whose node is down."""
    try:
        found = client.queue_status(*labels, timeout=STATUS_TIMEOUT)
    except BrokerUnreachable as error:
        if not error.unanswered or not client.connected:
            raise
        return [
            *(Queue(name, None, answered=False) for name in error.unanswered),
            *(Queue(name, status) for name, status in error.answered.items()),
        ]
    return [Queue(name, status) for name, status in found.items()]
