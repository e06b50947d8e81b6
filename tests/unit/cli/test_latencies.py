"""Percentiles and histograms of durations."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from amphora.cli.latencies import histogram, milliseconds, percentile, roughly


def test_a_percentile_is_the_least_duration_that_so_many_do_not_exceed():
    ordered = [float(number) for number in range(1, 101)]

    assert [percentile(ordered, each) for each in (1, 50, 99, 99.5, 100)] == [1, 50, 99, 100, 100]
    assert percentile([7.0], 50) == 7.0


@given(st.lists(st.floats(0, 1000), min_size=1))
def test_every_duration_is_in_one_bucket_and_buckets_have_no_gaps(durations):
    ordered = sorted(durations)

    buckets = histogram(ordered)

    assert sum(each.count for each in buckets) == len(ordered)
    assert all(one.high == other.low for one, other in itertools.pairwise(buckets))
    assert all(each.low < each.high for each in buckets)
    assert buckets[-1].high > ordered[-1]


def test_milliseconds_have_three_digits_that_mean_something():
    assert [milliseconds(each) for each in (0.00123, 0.0123, 0.123, 1.23)] == ["1.23", "12.3", "123", "1230"]
    assert histogram([]) == []


def test_what_is_known_roughly_is_written_with_two_digits():
    assert [roughly(each) for each in (0.0000123, 0.000123, 0.0123, 1.23, 0.0, None)] == [
        *("0.012", "0.12", "12", "1230", "0", "-"),
    ]
    assert roughly(0.0000012) == "0.001"
