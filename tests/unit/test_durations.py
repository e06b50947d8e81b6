"""Histograms of durations: what they count, tell, add up and say to other versions."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amphora.durations import BOUNDS, Durations, Histogram
from amphora.server.run_times import RunTimes

SECONDS = st.floats(0, 200)


def histogram_of(*durations: float) -> Histogram:
    counted = Durations()
    for each in durations:
        counted.add(each)
    return counted.so_far()


@given(SECONDS)
def test_a_duration_is_in_the_bucket_of_the_first_bound_that_it_does_not_exceed(duration: float) -> None:
    counts = histogram_of(duration).counts

    bounds = (*BOUNDS, float("inf"))
    place = counts.index(1)
    assert sum(counts) == 1
    assert duration <= bounds[place]
    assert place == 0 or duration > bounds[place - 1]


@given(st.lists(st.one_of(SECONDS, st.sampled_from(BOUNDS)), max_size=1000))
def test_many_durations_are_counted_as_each_by_itself(durations: list[float]) -> None:
    alone = sum(map(histogram_of, durations), Histogram())

    together = histogram_of(*durations)

    assert together.counts == alone.counts
    assert together.total == pytest.approx(alone.total)


@given(st.lists(SECONDS.filter(lambda each: each <= 100), min_size=1), st.integers(1, 100))
def test_a_percentile_is_in_the_bucket_of_the_duration_of_that_rank(durations: list[float], percent: int) -> None:
    rank = -(-len(durations) * percent // 100)
    wanted = histogram_of(sorted(durations)[rank - 1])

    found = histogram_of(*durations).percentile(percent)

    assert found is not None
    place = wanted.counts.index(1)
    assert (0.0, *BOUNDS)[place] <= found <= BOUNDS[place]


def test_what_is_longer_than_all_bounds_counts_as_the_last_one() -> None:
    assert histogram_of(1000.0).percentile(50) == 100.0
    assert histogram_of(0.001, 1000.0).percentile(100) == 100.0


def test_of_nothing_there_is_no_percentile_and_of_something_only_those_that_there_are() -> None:
    assert Histogram().percentile(50) is None
    with pytest.raises(ValueError, match="from 0 to 100, not 101"):
        histogram_of(1.0).percentile(101)


def test_a_later_one_without_an_earlier_one_is_what_came_between() -> None:
    counted = Durations()
    counted.add(0.001)
    before = counted.so_far()
    counted.add(2.0)
    counted.add(4.0)

    between = counted.so_far() - before

    assert (between.count, between.total) == (2, pytest.approx(6.0))
    assert between.percentile(99) == pytest.approx(4.0, rel=0.25)
    assert (before - counted.so_far()).count == 0


def test_those_of_several_servers_are_added_up() -> None:
    both = histogram_of(0.001, 0.5) + histogram_of(0.5)

    assert (both.count, both.total, both.up_to(0.001), both.up_to(0.5)) == (3, pytest.approx(1.001), 1, 3)
    with pytest.raises(ValueError, match=r"0\.3"):
        both.up_to(0.3)


def test_another_program_reads_what_one_writes() -> None:
    written = json.loads(json.dumps(histogram_of(0.001, 0.001, 0.3, 1000.0).encode()))

    assert written["buckets"] == [[0.001, 2], [0.32, 1], [None, 1]]
    assert Histogram.decode(written) == histogram_of(0.001, 0.001, 0.3, 1000.0)


def test_buckets_of_another_version_go_to_the_nearest_ones_above() -> None:
    read = Histogram.decode({"total": 1.0, "buckets": [[0.0011, 2], [500.0, 1]]})

    assert (read.count, read.up_to(0.001), read.up_to(0.00125), read.up_to(100.0)) == (3, 0, 2, 2)


def test_it_says_what_is_in_it() -> None:
    assert repr(histogram_of(0.5, 0.5)) == "<Histogram of 2: p50 0.45 s, p99 0.5 s, 1 s in all>"
    assert repr(Histogram()) == "<Histogram of nothing>"


def test_run_times_are_those_of_a_server_s_own_functions() -> None:
    run_times = RunTimes({"add", "idle"}.__contains__)

    for name in ("add", "add", "amphora.ping", "made up"):
        run_times[name].add(0.25)

    assert run_times.so_far() == {"add": histogram_of(0.25, 0.25)}
