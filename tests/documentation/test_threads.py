"""docs/threads.md: its program calls from several threads."""

import pytest

from amphora import AmqpRpcServer
from tests.conftest import StartProgram
from tests.support.fragments import at
from tests.support.pages import Reading


@pytest.mark.page("docs/threads.md")
def test_its_program_prints_what_its_calls_give(page: Reading, start_program: StartProgram, broker_url: str) -> None:
    (source,) = page.take_files().values()
    with AmqpRpcServer("math", broker_url=broker_url) as server:
        server.add_function(lambda x, y: x + y, name="add")

        program = start_program("-c", at(broker_url, source))

        assert program.wait(60) == 0, program.output
    assert program.lines == ["3", "7", "TypeError", "[11, 11]"]
