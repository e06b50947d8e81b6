"""The invariants of an outbox, for tests."""

from __future__ import annotations

from typing import Any

from amphora.core.messages import OutgoingMessage, State
from amphora.core.outbox_places import Places
from amphora.core.outbox_ports import ChannelState

__all__ = ["check_places"]


def check_places(places: Places) -> None:
    """Assert what holds whenever the outbox is not torn."""
    if places.torn:
        return
    lanes, limiter = places.lanes, places.limiter
    items = list(places.all())
    assert len({id(item) for item in items}) == len(items), "everything is in one place"
    messages = [item for item in items if isinstance(item, OutgoingMessage)]
    assert all(message.state is not State.SETTLED for message in messages)
    told = [message for message, _, _ in places.telling if message.state is not State.SETTLED]
    assert limiter.count == len(messages) + len(told), "the limiter counts what is inside"
    assert limiter.size == sum(message.size for message in (*messages, *told))
    sorted_places: list[list[Any]] = [list(places.queue), *(lane.messages for lane in lanes.held.values())]
    for place in sorted_places:
        orders = [item.order for item in place]
        assert orders == sorted(orders), "places are sorted by order"
    assert all(message.state in (State.SENT, State.RETURNED) for message in places.in_flight.values())
    assert all(lane.messages or lane.closed for lane in lanes.held.values()), "a held lane has messages"
    assert not lanes.held or places.alarm_at <= lanes.next_due, "a held lane has its alarm"
    assert all(flush.left > 0 for flush in places.flushes.waiting)
    assert places.channel is not ChannelState.NONE or not places.in_flight
