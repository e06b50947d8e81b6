"""What a publisher declares on a new connection: everything that the broker has lost, and nothing that was removed.

Label queues belong to their users: any client may remove one that another client created. A queue that is missing
after a reconnect was therefore removed, unless the broker has lost everything. It has if the exchange of the queue is
missing, or the endpoint's own queue (`amphora.links.topology.Witness`): the exchange may have been declared again by
another endpoint meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

from amqp.exceptions import ChannelError
from kombu import Exchange, Queue

from amphora.driver.ports import ChannelPort
from amphora.driver.progress import Unanswered
from amphora.links.declare_channel import is_not_found
from amphora.links.topology import Topology, bind_queue, create_queue, exists

__all__ = ["Loss", "Restored", "removed", "restore"]

Action = Callable[[ChannelPort], Any]

#: Runs an action on a channel for declarations, such as `DeclareChannel.run`.
Run = Callable[[Action], Any]


class Loss(NamedTuple):
    """An added queue that is not there after a reconnect.

    Attributes:
        queue: The queue.
        error: Why it could not be declared or bound again; None for a queue that was removed, and is forgotten.
    """

    queue: Queue
    error: Exception | None


class Restored(NamedTuple):
    """What became of a topology on a new connection.

    Attributes:
        losses: The added queues that are not there.
        silent: Queues about which the broker does not answer: their node is down, as a rule.
    """

    losses: list[Loss]
    silent: list[Queue]


def removed(queue: str, routing_key: str) -> str:
    """Return what the log says about an added queue that was removed."""
    return (
        f"label queue {queue!r} no longer exists: another program deleted it, or it expired. Calls with routing key "
        f"{routing_key!r} raise Unroutable until create_new_request_queue is called again"
    )


def restore(topology: Topology, run: Run, is_local: Callable[[Exception], bool]) -> Restored:
    """Declare a topology on a new connection, and the queues that were added to it, unless they were removed.

    Args:
        topology: The topology. Queues that were removed are discarded from it.
        run: Runs an action on a channel for declarations.
        is_local: Tells an error of an action itself, which cannot be encoded, from one of the connection.

    Raises:
        ChannelError: An entity of the fixed part was refused.
    """
    witness = topology.witness
    if witness is not None:
        # (A queue whose node does not answer is there.)
        with suppress(Unanswered):
            run(witness.look)
        topology.lost = topology.lost or witness.missing
    for exchange in {queue.exchange.name: queue.exchange for queue in topology.added}.values():
        topology.lost = topology.lost or not run(partial(exists, exchange))
    silent = [entity for entity, action in topology.steps if not _answers(entity, action, run)]
    step = topology.declare_added if topology.lost else topology.bind_added
    single = _declaration if topology.lost else _binding
    losses = [] if _runs(step, run, is_local) is None else _one_by_one(topology, run, is_local, single)
    silent += [loss.queue for loss in losses if isinstance(loss.error, Unanswered)]
    losses = [_without(topology, loss) for loss in losses if not isinstance(loss.error, Unanswered)]
    topology.lost = False
    if witness is not None:
        witness.missing = False
    return Restored(losses, silent)


def _answers(entity: Exchange | Queue, action: Action, run: Run) -> bool:
    """Declare an entity of the fixed part; return whether the broker answers about it."""
    try:
        run(action)
    except Unanswered:
        if isinstance(entity, Queue):
            return False
        raise
    return True


def _declaration(queue: Queue) -> Action:
    return partial(create_queue, queue)


def _binding(queue: Queue) -> Action:
    return partial(bind_queue, queue.name, queue.exchange.name, queue.routing_key)


def _runs(action: Action, run: Run, is_local: Callable[[Exception], bool]) -> Exception | None:
    """Run an action; return the error if it was refused or cannot be encoded."""
    try:
        run(action)
    except Exception as error:
        if not isinstance(error, (ChannelError, Unanswered)) and not is_local(error):
            raise
        return error
    return None


def _one_by_one(
    topology: Topology, run: Run, is_local: Callable[[Exception], bool], action_for: Callable[[Queue], Action]
) -> list[Loss]:
    """Find out which queues it is about, and restore the others."""
    found = [Loss(queue, _runs(action_for(queue), run, is_local)) for queue in topology.added]
    return [loss for loss in found if loss.error is not None]


def _without(topology: Topology, loss: Loss) -> Loss:
    """Forget a queue that was removed, or that cannot even be encoded."""
    gone = isinstance(loss.error, ChannelError) and is_not_found(loss.error) and not topology.lost
    if gone or not isinstance(loss.error, ChannelError):
        topology.discard(loss.queue.name)
    return Loss(loss.queue, None) if gone else loss
