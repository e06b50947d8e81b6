"""What the inspector makes of answers, also of those of older servers."""

from amphora.client.inspector import Answer, Inspector
from amphora.durations import Histogram
from amphora.protocol.messages import Result


def test_a_server_that_does_not_tell_run_times_is_in_the_counts_and_not_in_the_run_times() -> None:
    old = {"uuid": "old", "stats": {"requests": 1}}
    new = {"uuid": "new", "stats": {"requests": 2}, "run_times": {"add": Histogram().encode()}}
    answers = [Answer(Result(each), 0.1) for each in (old, new)]

    inspector = Inspector(lambda *_: answers)

    assert inspector.stats() == {"old": {"requests": 1}, "new": {"requests": 2}}
    assert inspector.run_times() == {"new": {"add": Histogram()}}
