"""A short round of the chaos run: the script works, and finds nothing."""

import re

import pytest

from tests.conftest import StartProgram
from tests.documentation.development import Development
from tests.support.consoles import entries, shape
from tests.support.pages import Reading

# Cuts, a swallowed and a refused connection, connections closed, a killed server: all of them short.
SEED = 29
MINUTES = 0.07


@pytest.mark.page("docs/reliability.md", "The chaos run")
def test_a_short_chaos_run_loses_nothing(page: Reading, start_program: StartProgram) -> None:
    Development().check_all(entries(page.take("console")))

    chaos = start_program(
        "-m", "chaos.run", "--minutes", MINUTES, "--seed", SEED, "--servers", "2", "--clients", "2", "--timeout", "60"
    )

    assert chaos.wait(timeout=100) == 0, chaos.output
    assert re.fullmatch(rf"lost=0 hung=0 unrun=0 twice=\d+ calls=\d+ reconnects=\d+ seed={SEED}", chaos.lines[-1])
    assert shape(chaos.lines[-1]) == shape(page.take_one("").text)
