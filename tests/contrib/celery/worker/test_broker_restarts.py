"""The broker goes and comes back under a worker that serves and works: nothing is lost."""

import re

import pytest

from tests.conftest import StartProgram


# A busy machine needs most of a minute for it.
@pytest.mark.timeout(300)
def test_calls_and_tasks_go_on_and_no_call_is_lost_when_the_broker_is_restarted_three_times(
    start_program: StartProgram,
) -> None:
    # One of the three is a `kill -9`.
    restarts = start_program("-m", "chaos.celery_restarts", "--restarts", 3)

    assert restarts.wait(timeout=280) == 0, restarts.output
    assert re.search(r"^lost=0 hung=0 unrun=0 twice=0 calls=\d+ restarts=3", restarts.output, re.MULTILINE)
