"""What a publisher declares on a new connection: everything that the broker has lost, and nothing that was removed.

Label queues belong to their users: any client may remove one that another client created. A queue that is missing
after a reconnect was therefore removed, unless the broker has lost everything. It has if the exchange of the queue is
missing, or the endpoint's own queue (`amphora.links.topology.Witness`): the exchange may have been declared again by
another endpoint meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from amqp.exceptions import ChannelError
from kombu import Queue

from amphora.links.control import is_not_found
from amphora.links.topology import Topology, bind_queue, create_queue, exists

__all__ = ["Loss", "removed", "restore"]

#: Runs an action on a control channel, such as `ControlChannel.run`.
Run = Callable[[Callable[[Any], Any]], Any]


class Loss(NamedTuple):
    """An added queue that is not there after a reconnect.

    Attributes:
        queue: The queue.
        error: Why it could not be declared or bound again; None for a queue that was removed, and is forgotten.
    """

    queue: Queue
    error: ChannelError | None


def removed(queue: str, routing_key: str) -> str:
    """Return what the log says about an added queue that was removed."""
    return (
        f"label queue {queue!r} no longer exists: another program deleted it, or it expired. Calls with routing key "
        f"{routing_key!r} raise Unroutable until create_new_request_queue is called again"
    )


def restore(topology: Topology, run: Run) -> list[Loss]:
    """Declare a topology on a new connection, and the queues that were added to it, as far as nobody removed them.

    Args:
        topology: The topology. Queues that were removed are discarded from it.
        run: Runs an action on the control channel.

    Returns:
        The added queues that are not there.

    Raises:
        ChannelError: An entity of the fixed part was refused.
    """
    witness = topology.witness
    if witness is not None:
        run(witness.look)
        topology.lost = topology.lost or witness.missing
    for exchange in {queue.exchange.name: queue.exchange for queue in topology.added}.values():
        topology.lost = topology.lost or not run(partial(exists, exchange))
    run(topology.declare)
    losses = _declare_added(topology, run) if topology.lost else _bind_added(topology, run)
    topology.lost = False
    if witness is not None:
        witness.missing = False
    return losses


def _declare_added(topology: Topology, run: Run) -> list[Loss]:
    try:
        run(topology.declare_added)
    except ChannelError:
        # Find out which, and declare the others.
        return _one_by_one(topology, run, lambda queue: partial(create_queue, queue))
    return []


def _bind_added(topology: Topology, run: Run) -> list[Loss]:
    """Restore the bindings, which fails for the queues that were removed."""
    try:
        run(topology.bind_added)
    except ChannelError:
        losses = _one_by_one(
            topology, run, lambda queue: partial(bind_queue, queue.name, queue.exchange.name, queue.routing_key)
        )
    else:
        return []
    gone = [loss.queue for loss in losses if loss.error is not None and is_not_found(loss.error)]
    for queue in gone:
        topology.discard(queue.name)
    return [loss if loss.queue not in gone else Loss(loss.queue, None) for loss in losses]


def _one_by_one(topology: Topology, run: Run, action_for: Callable[[Queue], Callable[[Any], Any]]) -> list[Loss]:
    losses = []
    for queue in topology.added:
        try:
            run(action_for(queue))
        except ChannelError as error:
            losses.append(Loss(queue, error))
    return losses
