"""A server whose names, texts and errors are hostile: commands show them, and a terminal obeys nothing in them."""

import json
import re
from collections.abc import Iterator
from typing import Any

import amqp
import pytest

from tests.cli.conftest import Invoke, Shop
from tests.support.broker import Broker
from tests.support.hostile_server import HOSTILE, HostileServer, healthy, is_clean
from tests.support.terminal import Terminal

#: How a terminal is told colors, which commands may do.
COLORS = re.compile(r"\x1b\[[0-9;]*m")

#: A line that a hostile text wants to be printed as one of its own.
FORGED = re.compile(r"^(Error: )?forged", re.MULTILINE)


def hostile_answers(request: Any) -> list[Any]:
    function = {"name": HOSTILE, "signature": f"(x{HOSTILE})", "doc": f"{HOSTILE}\n\n{HOSTILE}", "module": HOSTILE}
    return [
        healthy(
            "hostile" + HOSTILE,
            host=HOSTILE,
            version=HOSTILE,
            functions=[function, {**function, "name": "add"}],
            stats={"requests": 1, HOSTILE: 1},
            run_times={HOSTILE: {"total": 0.5, "buckets": [[0.5, 1]]}},
            now=1.0,
        ),
        healthy(HOSTILE, pid=HOSTILE),
    ]


@pytest.fixture
def hostile(broker: Broker, service: str) -> Iterator[str]:
    with HostileServer(broker, service, hostile_answers, calls=True):
        yield service


COMMANDS = (
    ["bench", "add", "-n", "3", "-c", "1"],
    ["bench", "add", "-n", "3", "-c", "1", "--json"],
    ["call", "add", "1"],
    ["call", HOSTILE.partition("\x00")[0], "1"],
    ["doctor"],
    ["doctor", "--json"],
    ["functions"],
    ["functions", "*"],
    ["functions", "--stub"],
    ["functions", "--json"],
    ["health"],
    ["health", "--json"],
    ["ping", "-c", "2", "-i", "0.1"],
    ["ping", "--json"],
    ["queues"],
    ["top", "-n", "2", "-i", "0.5", "--functions"],
    ["top", "-n", "2", "-i", "0.5", "--json"],
)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: f"{command[0]} {command[-1][:10]!a}")
def test_no_command_prints_what_a_terminal_obeys(command: list[str], invoke: Invoke, hostile: str) -> None:
    name, *arguments = command

    result = invoke(name, hostile, *arguments, "-v")

    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert is_clean(result.stdout)
    assert is_clean(result.stderr)
    if "functions" not in command:
        assert not FORGED.search(result.output)
    if "--json" in command:
        json.loads(result.stdout.splitlines()[-1])


def test_what_is_shown_is_the_text_with_escapes(invoke: Invoke, hostile: str) -> None:
    shown = invoke("ping", hostile, "-c", "1").output

    assert r"evil\x1b[2J\x1b]0;owned\x07\x9b31m\u202eXT\u2066[/]\[bold][link=x]\r\nError: forged\x00" in shown
    assert "was left out: ping: pid is a str, and not a whole number" in shown
    assert re.search(r"the clock of evil.* is \d+ s behind this machine's", shown)


@pytest.mark.parametrize(
    "command", ["ping HERE -c 2", "health HERE", "functions HERE *", "call HERE add", "doctor HERE", "top HERE -n 2"]
)
def test_a_terminal_is_told_nothing_but_colors(command: str, broker: Broker, hostile: str) -> None:
    words = [hostile if each == "HERE" else each for each in command.split()]

    with Terminal("-m", "amphora", *words, "--broker", broker.url, columns=400, lines=60) as terminal:
        terminal.wait(60)
        written = terminal.written.decode().replace("\r\n", "\n")

    if command.startswith("top"):
        # It moves the cursor itself.
        assert not re.search(r"\x1b\]|\x07|\x9b|\u202e", written)
        return
    assert is_clean(COLORS.sub("", written))
    assert "[bold]" in written


def test_the_shell_shows_and_completes_nothing_hostile(broker: Broker, hostile: str) -> None:
    with Terminal("-m", "amphora", "shell", hostile, "--broker", broker.url, columns=200, lines=60) as terminal:
        terminal.wait_for_screen(r"(?s).*\n>>>", 60)
        terminal.type("functions()\r")
        terminal.wait_for_screen(r"(?s).*evil\\x1b\[2J.*\n>>>", 60)
        terminal.type("client.call.ad\t1)\r")
        terminal.wait_for_screen(r"(?s).*RemoteException: evil\\x1b.*\n>>>", 60)
        terminal.type("client.call.ev\t\t1\r")
        terminal.wait_for_screen(r"(?s).*PrettyCaller ev1.*\n>>>", 60)
        terminal.type(chr(4))
        terminal.wait(60)
        written = terminal.written.decode()

    assert not re.search(r"\x1b\]|\x1b\[2J|\x9b|\u202e", written)
    assert not re.search(r"^Error: forged", written, re.MULTILINE)


@pytest.mark.parametrize(
    "command", ["requeue-dead --dry-run", "requeue-dead --dry-run --json", "requeue-dead", "purge-dead --dry-run"]
)
def test_dead_letters_of_an_outsider_are_shown_with_escapes(
    command: str, invoke: Invoke, shop: Shop, service: str, broker: Broker
) -> None:
    assert shop.server.wait_connected(60)
    text = HOSTILE.replace("\ud800", "")
    headers = {"x-amphora-queue": text, "x-amphora-reason": text}
    with broker.channel() as channel:
        for body in (json.dumps({"func": HOSTILE, "args": [HOSTILE], "kwargs": {HOSTILE: 1}}), text):
            letter = amqp.Message(
                body, message_id=text, content_type="application/json", application_headers=headers, delivery_mode=2
            )
            channel.basic_publish(letter, "", f"rpc_{service}_dead")
    name, *options = command.split()

    result = invoke(name, service, *options)

    assert is_clean(result.stdout)
    assert is_clean(result.stderr)
    assert not FORGED.search(result.output)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert "evil" in result.output
