"""Run times are counted for functions that are of interest, and for no others."""

from amphora.server.run_times import RunTimes


def test_the_runs_of_a_function_are_counted_together() -> None:
    times = RunTimes(lambda _: True)

    times["add"].add(0.25)
    times["add"].add(0.5)

    [(function, histogram)] = times.so_far().items()
    assert function == "add"
    assert histogram.count == 2
    assert histogram.total == 0.75


def test_a_name_that_anybody_may_make_up_takes_no_memory() -> None:
    times = RunTimes(lambda function: function == "add")

    for number in range(100):
        times[f"made up {number}"].add(0.25)

    assert times == {}
    assert times.so_far() == {}
