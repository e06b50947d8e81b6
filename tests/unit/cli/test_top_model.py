"""What `amphora top` makes of the answers of servers."""

import pytest

from amphora import Histogram, ServerInfo
from amphora.cli.top_model import ObservedServer, runs_by_function
from amphora.durations import Durations


def server() -> ObservedServer:
    return ObservedServer(ServerInfo("uuid", "host", 1, "1.0", 0.0, 100, 0.001))


def times(*durations: float) -> Histogram:
    counted = Durations()
    for each in durations:
        counted.add(each)
    return counted.so_far()


def test_rates_and_run_times_are_of_what_came_between_two_answers() -> None:
    seen = server()
    seen.update({"requests": 7, "errors": 1}, {"add": times(50.0)}, 100.0)
    assert seen.runs is None

    seen.update({"requests": 10, "errors": 2}, {"add": times(50.0, 0.001, 0.001), "new": times(2.0)}, 102.0)

    assert (seen.calls, seen.errors) == (1.5, 0.5)
    assert seen.runs is not None
    assert (seen.runs.times.count, seen.runs.per_second) == (3, 1.5)
    assert seen.runs.times.percentile(50) == pytest.approx(0.001, rel=0.25)
    assert seen.functions is not None
    assert {name: runs.times.count for name, runs in seen.functions.items()} == {"add": 2, "new": 1}


def test_a_server_that_tells_no_run_times_has_rates_all_the_same() -> None:
    seen = server()
    seen.update({"requests": 0}, None, 100.0)

    seen.update({"requests": 30}, None, 102.0)

    assert (seen.calls, seen.runs) == (15.0, None)


def test_where_no_run_has_ended_there_are_no_percentiles() -> None:
    seen = server()
    seen.update({"requests": 3}, {}, 100.0)

    seen.update({"requests": 3}, {}, 101.0)

    assert seen.runs is not None
    assert seen.runs.times.percentile(50) is None


def test_functions_of_all_servers_are_added_up_and_the_most_called_comes_first() -> None:
    first, second, old = server(), server(), server()
    for each, told in ((first, {"b": times(1.0), "a": times(1.0)}), (second, {"b": times(1.0)}), (old, None)):
        each.update({"requests": 0}, {} if told is not None else None, 100.0)
        each.update({"requests": 0}, told, 101.0)

    found = runs_by_function([first, second, old])

    assert [(name, runs.per_second, runs.times.count) for name, runs in found.items()] == [("b", 2.0, 2), ("a", 1.0, 1)]
