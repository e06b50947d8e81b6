"""How much is done for others in a while."""

from amphora.server.token_bucket import TokenBucket


def done_in(allowance: TokenBucket, seconds: range, *, each: int, cost: float = 1.0) -> int:
    """Return how many pieces of work are done when each second brings so many."""
    done = 0
    for now in seconds:
        for _ in range(each):
            if allowance.has_left(now):
                allowance.spend(cost)
                done += 1
    return done


def test_as_much_as_was_saved_up_is_done_at_once() -> None:
    assert done_in(TokenBucket(10, 30), range(1), each=1000) == 30


def test_in_the_long_run_the_rate_is_kept() -> None:
    assert done_in(TokenBucket(10, 30), range(101), each=1000) == 30 + 100 * 10


def test_work_that_costs_more_than_is_left_is_begun_and_made_up_for() -> None:
    assert done_in(TokenBucket(10, 30), range(101), each=1000, cost=25) == 2 + (100 * 10 - 20 + 24) // 25


def test_what_is_saved_up_has_an_end_and_a_clock_that_goes_back_takes_nothing() -> None:
    allowance = TokenBucket(10, 30)
    assert allowance.has_left(0)
    allowance.spend(31)

    assert not allowance.has_left(-5)
    assert done_in(allowance, range(1000, 1001), each=1000) == 30
