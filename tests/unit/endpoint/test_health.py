"""When an endpoint is ready, and how it says so."""

import pytest

from amphora.endpoint.health import Health

WELL = Health(connected=True, consuming=True, blocked=False, loop_lag=0.25)


@pytest.mark.parametrize("connected", [True, False])
@pytest.mark.parametrize("consuming", [True, False])
@pytest.mark.parametrize("blocked", [True, False])
def test_it_is_ready_only_where_it_is_connected_and_consuming_and_not_blocked(
    connected: bool, consuming: bool, blocked: bool
) -> None:
    assert Health(connected, consuming, blocked, 0.0).ready == (connected and consuming and not blocked)


@pytest.mark.parametrize(("max_lag", "ready"), [(None, True), (0.25, True), (0.2, False)])
def test_it_is_not_ready_where_its_event_loop_was_later_than_allowed(max_lag: float | None, ready: bool) -> None:
    assert WELL.ready_within(max_lag) is ready


def test_a_punctual_event_loop_makes_nothing_ready_that_is_not() -> None:
    assert not Health(connected=False, consuming=False, blocked=False, loop_lag=0.0).ready_within(1.0)


def test_it_says_what_it_is_and_what_it_is_not() -> None:
    ill = Health(connected=False, consuming=False, blocked=True, loop_lag=1.5)

    assert str(WELL) == "ready: connected, consuming; event loop lag 0.250 s"
    assert WELL.describe(0.1) == "not ready: connected, consuming; event loop lag 0.250 s, more than 0.1 s"
    assert str(ill) == "not ready: not connected, not consuming, blocked by the broker; event loop lag 1.500 s"
