"""Many together, or one alone."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import gevent
import pytest
from gevent.event import Event

from amphora.turns import Turns


class Visitor:
    """A greenlet that stays inside until it is told to leave."""

    def __init__(self, turn: Callable[[], AbstractContextManager[None]]) -> None:
        self._leave = Event()
        self.inside = False
        self._greenlet = gevent.spawn(self._visit, turn)
        gevent.idle()

    def _visit(self, turn: Callable[[], AbstractContextManager[None]]) -> None:
        with turn():
            self.inside = True
            self._leave.wait()
            self.inside = False

    def leave(self) -> None:
        self._leave.set()
        self._greenlet.join()
        gevent.idle()


@pytest.fixture
def turns() -> Turns:
    return Turns()


def test_many_are_inside_together(turns: Turns) -> None:
    visitors = [Visitor(turns.together) for _ in range(3)]

    assert all(each.inside for each in visitors)


def test_who_is_alone_keeps_everybody_else_out(turns: Turns) -> None:
    first = Visitor(turns.alone)
    others = [Visitor(turns.together), Visitor(turns.alone)]
    assert first.inside
    assert not any(each.inside for each in others)

    first.leave()

    assert [each.inside for each in others] == [True, False]


def test_who_wants_to_be_alone_waits_for_those_inside_and_keeps_later_ones_out(turns: Turns) -> None:
    early = [Visitor(turns.together) for _ in range(2)]
    alone = Visitor(turns.alone)
    late = Visitor(turns.together)

    early[0].leave()
    assert (alone.inside, late.inside) == (False, False)
    early[1].leave()
    assert (alone.inside, late.inside) == (True, False)
    alone.leave()
    assert late.inside


@pytest.mark.parametrize("kind", ["together", "alone"])
def test_who_leaves_with_an_error_has_left(turns: Turns, kind: str) -> None:
    with pytest.raises(KeyError), getattr(turns, kind)():
        raise KeyError

    assert Visitor(turns.alone).inside
