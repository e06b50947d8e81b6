"""Real signals in the middle of traffic: what their handlers raise reaches the program, and calls work afterwards."""

import random

import pytest

from tests.support.broker import Broker
from tests.support.processes import Program

#: Programs for each case; the issue counted failures in 6 and 7 of 40.
TIMES = 6


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["SIGINT", "SIGUSR1"])
@pytest.mark.parametrize("transport", ["amqp", "memory"])
@pytest.mark.expects_errors("\nKeyboardInterrupt", "\nStop")
def test_a_signal_that_the_program_catches_is_raised_in_it_and_ends_no_connection_for_good(
    broker: Broker, service: str, transport: str, kind: str
) -> None:
    url = broker.url if transport == "amqp" else "memory://"
    for number in range(TIMES):
        delay = random.uniform(0.05, 0.4)
        with Program("tests/acceptance/interrupted.py", url, f"{service}{number}", kind, delay) as program:
            told = program.wait_for_line(r"^(main|caller|swallowed) (.*)$", timeout=60)

        assert told[1] in ("main", "caller"), program.output
        assert told[2] == "[1, 2, 3] 8"
