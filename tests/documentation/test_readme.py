"""README.md: its programs, its fragments over RabbitMQ, and what it types at the terminal."""

from typing import Any

import pytest

from amphora import AmqpRpcClient, AmqpRpcServer
from tests.conftest import StartProgram
from tests.documentation.development import Development
from tests.documentation.orders import ORDERS
from tests.documentation.terminal import Terminal
from tests.support.consoles import entries
from tests.support.fragments import at, run_fragment, run_fragments
from tests.support.pages import Reading, blocks_of

#: Seconds. The machine may be busy.
PATIENCE = 60
PROGRAMS = {block.file: block for block in blocks_of("README.md") if block.file}


@pytest.mark.page("README.md", "Amphora")
def test_its_client_calls_its_server(page: Reading, start_program: StartProgram, broker_url: str) -> None:
    files = page.take_files()
    start_program("-c", at(broker_url, files["math_server.py"]))

    client = start_program("-c", at(broker_url, files["math_client.py"]))

    assert client.wait(PATIENCE) == 0
    assert client.lines == ["5", "[0, 2, 4, 6, 8, 10, 12, 14, 16, 18]"]


def test_its_programs_are_of_about_ten_lines() -> None:
    lengths = {name: len(block.text.rstrip().splitlines()) for name, block in PROGRAMS.items()}

    assert lengths.keys() == {"math_server.py", "math_client.py"}
    assert max(lengths.values()) <= 12


@pytest.mark.page(
    "README.md", "Calls", "Deadlines", "One user's queue", "Broadcast", "Starting, stopping", "Looking in"
)
def test_its_fragments_give_what_their_comments_say(page: Reading, names: dict[str, Any], broker_url: str) -> None:
    compared = run_fragments(page.take("python"), names, broker_url)

    assert compared >= 10


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


def test_its_tuning_function_chooses_the_queue_of_the_user(names: dict[str, Any], broker_url: str) -> None:
    client: AmqpRpcClient = names["client"]
    server: AmqpRpcServer = names["server"]
    (tuning,) = [block.text for block in blocks_of("README.md") if "tune_function" in block.text]
    run_fragment(tuning, names)
    for user in ("Dora", "Emil"):
        client.create_new_request_queue(user)

    results = [client.defer.show_message("Dora", "Hi!"), client.defer.show_message(username="Emil", message="Hi!")]

    assert [server.receive_from_queue(user, max_calls=1, timeout=20) for user in ("Dora", "Emil")] == [1, 1]
    assert [result.get() for result in results] == ["shown", "shown"]
