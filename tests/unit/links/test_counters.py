"""Counters that exist with other properties, or are deleted meanwhile."""

from typing import Any, NamedTuple

import pytest
from amqp.exceptions import AccessRefused, ChannelError, NotFound, PreconditionFailed

from amphora.links.counters import OpenCounter
from amphora.links.declare_channel import DeclareChannel

DECLARED = {"x-queue-type": "classic", "x-expires": 1000}


class Ok(NamedTuple):
    queue: str
    message_count: int
    consumer_count: int = 0


class FakeBroker:
    """Answers declarations with what the test prepared; an error closes the channel. Is a connection too."""

    def __init__(self, *answers: int | ChannelError) -> None:
        self.answers = list(answers)
        self.declared: list[dict[str, Any] | None] = []
        self.bound: list[tuple[str, str, str]] = []

    def channel(self) -> "FakeChannel":
        return FakeChannel(self)


class FakeChannel:
    def __init__(self, broker: FakeBroker) -> None:
        self.connection: FakeBroker | None = broker
        self._broker = broker

    def queue_declare(self, queue: str, passive: bool = False, arguments: dict[str, Any] | None = None, **_: Any) -> Ok:
        assert self.connection is not None, "the channel is closed"
        self._broker.declared.append(None if passive else arguments)
        answer = self._broker.answers.pop(0)
        if isinstance(answer, ChannelError):
            self.connection = None
            raise answer
        return Ok(queue, answer)

    def queue_bind(self, *binding: str) -> None:
        assert self.connection is not None, "the channel is closed"
        self._broker.bound.append(binding)  # type: ignore[arg-type]


def missing() -> NotFound:
    return NotFound("no queue", (50, 10), "Queue.declare")


def conflict() -> PreconditionFailed:
    return PreconditionFailed("inequivalent arg", (50, 10), "Queue.declare")


@pytest.mark.parametrize(
    ("answers", "declared"),
    [
        ([3], [DECLARED]),
        ([conflict(), 3], [DECLARED, None]),
        ([conflict(), missing(), 3], [DECLARED, None, DECLARED]),
    ],
    ids=["new", "of other properties", "deleted meanwhile"],
)
def test_a_counter_is_declared_or_taken_as_it_is(
    answers: list[int | ChannelError], declared: list[dict[str, Any] | None]
) -> None:
    broker = FakeBroker(*answers)

    assert DeclareChannel(broker).run(OpenCounter("q", "dead", 1000)) == 3

    assert broker.declared == declared
    assert broker.bound == [("q", "dead", "q")]


def test_a_missing_permission_is_an_error() -> None:
    broker = FakeBroker(AccessRefused("no", (50, 10), "Queue.declare"))

    with pytest.raises(AccessRefused):
        DeclareChannel(broker).run(OpenCounter("q", "dead", 1000))
