"""README.md: its programs, its length, and what it types at the terminal."""

import pytest

from tests.conftest import StartProgram
from tests.documentation.development import Development
from tests.documentation.orders import ORDERS
from tests.documentation.terminal import Terminal
from tests.support.consoles import entries
from tests.support.fragments import at
from tests.support.pages import Reading, blocks_of
from tests.support.processes import ROOT

#: Seconds. The machine may be busy.
PATIENCE = 60
PROGRAMS = {block.file: block for block in blocks_of("README.md") if block.file}


@pytest.mark.page("README.md", "Amphora")
def test_its_clients_call_its_server(page: Reading, start_program: StartProgram, broker_url: str) -> None:
    files = page.take_files()
    start_program("-c", at(broker_url, files["math_server.py"]))

    client = start_program("-c", at(broker_url, files["math_client.py"]))
    script = start_program("-c", at(broker_url, files["math_script.py"]))

    assert client.wait(PATIENCE) == 0
    assert client.lines == ["5", "[0, 2, 4, 6, 8, 10, 12, 14, 16, 18]"]
    assert script.wait(PATIENCE) == 0
    assert script.lines == ["5"]


def test_its_programs_are_of_about_ten_lines() -> None:
    lengths = {name: len(block.text.rstrip().splitlines()) for name, block in PROGRAMS.items()}

    assert lengths.keys() == {"math_server.py", "math_client.py", "math_script.py"}
    assert max(lengths.values()) <= 12


def test_it_is_short() -> None:
    assert len((ROOT / "README.md").read_text().split()) < 900


@pytest.mark.page("README.md", "Try it", "At the terminal")
def test_its_commands_do_what_they_say(page: Reading, terminal: Terminal) -> None:
    development = Development()
    terminal.write({"orders/rpc.py": ORDERS})

    for entry in entries(page.take("console")):
        if entry.words[0] == "pip":
            development.check(entry)
        elif entry.words[1] == "serve":
            serving = terminal.start(entry.command)
            serving.wait_for_line(r"orders: ready", PATIENCE)
        else:
            assert terminal.run(entry) == entry.output, str(entry)
    development.finish()
