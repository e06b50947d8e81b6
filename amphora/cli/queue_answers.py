"""What the broker answers about queues, where it may not answer about some of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from amphora import AmqpRpcClient, BrokerUnreachable, QueueStatus

__all__ = ["QueueAnswers", "ask_about_queues", "no_answer"]


class QueueAnswers(NamedTuple):
    """What the broker answered.

    Attributes:
        found: By the name of the queue; None for one that does not exist.
        unanswered: Names of the queues about which it did not answer.
    """

    found: Mapping[str, QueueStatus | None]
    unanswered: tuple[str, ...] = ()


def ask_about_queues(client: AmqpRpcClient, *labels: str, timeout: float = 10.0) -> QueueAnswers:
    """Ask the broker how queues are, as `AmqpRpcClient.queue_status` does.

    Raises:
        BrokerError: The client is not connected, or the broker refuses.
    """
    try:
        return QueueAnswers(client.queue_status(*labels, timeout=timeout))
    except BrokerUnreachable as error:
        if not error.unanswered or not client.connected:
            raise
        return QueueAnswers(error.answered, error.unanswered)


def no_answer(*names: str) -> str:
    """Say that the broker does not answer about these queues."""
    return f"the broker does not answer about {', '.join(names)} (is the node of the queue down?)"
