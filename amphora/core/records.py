"""The record of one request that a server has, its states and its ends."""

from __future__ import annotations

from collections.abc import Hashable
from enum import Enum
from math import inf
from typing import Any

from amphora.core.finished import Reply
from amphora.core.receiver import Intake

__all__ = ["AGAIN", "Exit", "Record", "State"]

#: Seconds until a reply, or a dead letter, is sent again at first.
AGAIN = 1.0


class State(Enum):
    """What a record waits for."""

    NEW = "new"
    QUEUED = "queued"
    STARTING = "starting"
    GATED = "gated"
    RUNNING = "running"
    REPLYING = "replying"
    PARKED = "parked"
    BURYING = "burying"
    HOLDING = "holding"
    SETTLED = "settled"


_NEW = State.NEW


class Exit(Enum):
    """How a record left.

    Attributes:
        acks: Whether its deliveries are acknowledged.
        gives_back: Whether they go back to their queue. With neither, DROPPED drops them, and LOST has none.
        handled: Whether its receiver has handled it; otherwise it may take another one.
    """

    DONE = ("done", True, False, True)
    ABANDONED = ("abandoned", True, False, True)
    BURIED = ("buried", True, False, True)
    REFUSED = ("refused", True, False, True)
    EXPIRED = ("expired", True, False, False)
    DROPPED = ("dropped", False, False, True)
    IGNORED = ("ignored", False, True, True)
    GIVEN_BACK = ("given back", False, True, False)
    LOST = ("lost", False, False, False)

    def __init__(self, text: str, acks: bool, gives_back: bool, handled: bool) -> None:
        self.text = text
        self.acks = acks
        self.gives_back = gives_back
        self.handled = handled


class Record:
    """One request that the server has.

    Args:
        token: Its delivery.
        key: What tells it from other requests.
        client: Routing key of its reply; None if no reply is wanted.
        named: Whether it has an id: only such a request is remembered when it is finished.
        redelivered: Whether the broker has delivered it before.
        receiver: The `receive_from_queue` that takes it; None for the server's own queue.

    Attributes:
        state: See the table in `amphora.core.requests`; only `ServedRequests` changes it.
        tokens: Its deliveries that may still be settled.
        apart: Whether it is in no index: it is not trusted, or a dead letter that may come again any moment.
        begun: Whether its function was begun here.
        perishable: Whether it may have a deadline, so that `Ports.expired` is asked.
        reply: Its reply, once there is one.
        due: When something has to happen; infinity if nothing has.
        counter: Queue that counts its tries, or may exist for that; empty where none does.
    """

    __slots__ = (
        "again",
        "apart",
        "begun",
        "client",
        "counter",
        "due",
        "full",
        "key",
        "looked",
        "named",
        "perishable",
        "receiver",
        "redelivered",
        "reply",
        "restores",
        "state",
        "tokens",
    )

    def __init__(
        self,
        token: Any,
        key: Hashable,
        client: str | None,
        named: bool,
        redelivered: bool,
        receiver: Intake | None,
    ) -> None:
        self.tokens = [token]
        self.key = key
        self.client = client
        self.named = named
        self.redelivered = redelivered
        self.receiver = receiver
        self.state = _NEW
        self.apart = False
        self.begun = False
        self.perishable = True
        self.reply: Reply | None = None
        self.due = inf
        self.again = AGAIN
        self.restores = 0
        self.looked = False
        self.full = False
        self.counter = ""
