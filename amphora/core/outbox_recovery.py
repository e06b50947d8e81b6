"""Puts an outbox in order again after an exception between any two of its lines, as a signal handler may raise one.

Until then it is *torn* (`Places.tear`): it sends nothing, and ignores the confirms of its channel.
"""

from __future__ import annotations

from amphora.core.messages import OutgoingMessage, State
from amphora.core.outbox_outcomes import tell
from amphora.core.outbox_places import Places
from amphora.core.outbox_ports import ChannelState

__all__ = ["recover"]

_QUEUED, _SETTLED = State.QUEUED, State.SETTLED


def recover(places: Places) -> None:
    """Put everything in order again from the messages themselves; another channel is needed."""
    telling = [message for message, _, _ in places.telling]
    aside = {id(item) for item in (*telling, *places.urgent, *places.overdue, places.running)}
    items = {
        item.order: item
        for item in [*places.torn_hands, *places.all()]
        if item.order and item.state is not _SETTLED and id(item) not in aside
    }
    waiting = [items[order] for order in sorted(items)]
    messages = [item for item in waiting if isinstance(item, OutgoingMessage)]
    for item in waiting:
        item.state = _QUEUED
    for message in telling:
        # Not told yet: `tell` counts them out.
        message.state = _QUEUED
    places.in_flight.clear()
    places.lanes.take_all(closed=False)
    places.back.clear()
    places.torn_hands.clear()
    places.queue.clear()
    places.queue.extend(waiting)
    places.limiter.recount([message.size for message in (*messages, *telling)])
    places.flushes.recount((*messages, *telling))
    if places.channel is not ChannelState.NONE:
        places.channel = ChannelState.RENEWING
    places.torn = False
    places.update()
    tell(places)
