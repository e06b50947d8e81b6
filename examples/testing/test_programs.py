"""Tests of the programs in examples/ that call: without their servers, and without a broker.

    pytest examples/testing
    pytest examples/testing --amphora-broker amqp://guest:guest@127.0.0.1:5672//

The fixture comes with Amphora, see docs/testing.md.
"""

import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1]


@pytest.fixture
def run(monkeypatch, capsys):
    """Run a program of examples/ with arguments, and return the lines that it prints."""

    def run_program(name, *arguments):
        monkeypatch.setattr("sys.argv", [name, *arguments])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out.splitlines()

    return run_program


def test_every_site_is_checked_and_an_error_is_shown(amphora_services, run):
    def check(site):
        if "://" not in site:
            raise ValueError(f"not a web address: {site}")
        return f"Site {site} is up"

    checker = amphora_services("example")
    checker.stub("check_is_down", function=check)

    lines = run("site_checker_client.py", "http://one.example", "two")

    assert lines[1:] == ["Site http://one.example is up", "ValueError: not a web address: two"]
    assert sorted(call.args for call in checker.calls) == [("http://one.example",), ("two",)]


def test_each_user_s_messages_go_to_that_user_s_queue(amphora_services, run):
    api = amphora_services("messages")
    api.stub("show_message", "the test")
    for user in ("Alice", "Bob"):
        # It waits for the queue, which the program creates.
        api.server.receive_from_queue(user, block=False)

    lines = run("messages_core.py", "Alice", "Bob")

    assert lines[0] == "4 messages are stored by the broker; waiting for the users to poll"
    assert lines[1].split(maxsplit=2) == ["Hello,", "Alice!", "shown by the test"]
    api.assert_called("show_message", "Bob", "Hello, Bob!")
    api.assert_called("show_message", username="Alice", message="Goodbye, Alice!")
