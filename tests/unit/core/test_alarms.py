"""`Alarms`: what is due is given in order, once, and the driver is asked for no more alarms than it needs."""

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from amphora.core.alarms import Alarms


class Thing:
    """Something that may be due."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.due = inf


def names(alarms: Alarms[Thing], now: float) -> list[str]:
    return [thing.name for thing in alarms.take(now)]


def test_what_is_due_comes_in_the_order_of_its_times_then_of_its_being_set() -> None:
    alarms: Alarms[Thing] = Alarms(lambda _: None)
    for name, at in (("late", 2.0), ("first", 1.0), ("second", 1.0), ("later", 3.0)):
        alarms.set(Thing(name), at)

    assert names(alarms, 2.0) == ["first", "second", "late"]
    assert names(alarms, 2.0) == []
    assert alarms.next == 3.0


def test_a_thing_is_due_at_the_last_time_it_was_set_to() -> None:
    alarms: Alarms[Thing] = Alarms(lambda _: None)
    moved, dropped, both = Thing("moved"), Thing("dropped"), Thing("both")
    for thing in (moved, dropped, both):
        alarms.set(thing, 1.0)
    alarms.set(moved, 2.0)
    alarms.set(dropped, inf)
    alarms.set(both, 2.0)
    alarms.set(both, 1.0)

    assert names(alarms, 1.0) == ["both"]
    assert names(alarms, 2.0) == ["moved"]
    assert alarms.next == inf


def test_an_alarm_is_asked_for_only_where_there_is_none_before() -> None:
    asked: list[float] = []
    alarms: Alarms[Thing] = Alarms(asked.append)

    for at in (5.0, 7.0, 3.0, 3.0):
        alarms.set(Thing("any"), at)
    alarms.fired()
    alarms.announce(alarms.next)

    assert asked == [5.0, 3.0, 3.0]


def test_what_becomes_due_while_others_are_handled_is_given_too() -> None:
    alarms: Alarms[Thing] = Alarms(lambda _: None)
    alarms.set(Thing("first"), 1.0)
    alarms.set(Thing("last"), 3.0)
    seen = []
    for thing in alarms.take(3.0):
        seen.append(thing.name)
        if thing.name == "first":
            alarms.set(Thing("between"), 2.0)

    assert seen == ["first", "between", "last"]


def test_stale_entries_are_dropped() -> None:
    alarms: Alarms[Thing] = Alarms(lambda _: None)
    thing = Thing("moved again and again")

    for at in range(10_000):
        alarms.set(thing, 1.0 + at)

    assert len(alarms) <= 65
    assert names(alarms, 20_000.0) == [thing.name]


@given(st.lists(st.tuples(st.integers(0, 200), st.one_of(st.just(inf), st.integers(0, 50).map(float))), max_size=400))
def test_it_agrees_with_a_list_that_is_looked_through(settings: list[tuple[int, float]]) -> None:
    asked: list[float] = []
    alarms: Alarms[Thing] = Alarms(asked.append)
    things = [Thing(str(number)) for number in range(201)]
    for number, at in settings:
        alarms.set(things[number], at)
        assert alarms.next == min(thing.due for thing in things)
        assert alarms.alarm_at <= alarms.next

    due = sorted(thing.due for thing in things if thing.due <= 25)
    assert len(list(alarms.take(25.0))) == len(due)
