"""A fork: the parent's endpoints go on, the child's own work, and what the child inherited says what it is."""

from pathlib import Path

import pytest

from tests.conftest import StartProgram
from tests.support.broker import Broker

PROGRAM = Path(__file__).with_name("forking.py")


@pytest.mark.parametrize("way", ["gevent", "raw"])
def test_a_fork_disturbs_no_connection_of_the_parent_and_the_children_make_their_own(
    start_program: StartProgram, broker: Broker, service: str, way: str
) -> None:
    program = start_program(PROGRAM, broker.url, service, way)

    assert program.wait(timeout=90) == 0
    assert "children [0, 0, 0]" in program.lines
    assert "reconnects 0" in program.lines
    # Once each: 40 calls around each of three forks, one of each child, one before and one after.
    assert "runs 125, twice []" in program.lines
