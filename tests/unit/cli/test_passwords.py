"""A password that is not percent-encoded in a broker's URL: nothing that clients, servers and commands say shows it."""

import json
import logging
import subprocess
import sys
from collections.abc import Callable

import pytest
from click.testing import CliRunner

from amphora import (
    AmqpRpcClient,
    AmqpRpcFanoutClient,
    AmqpRpcFanoutServer,
    AmqpRpcServer,
    DeadLetters,
    override_arguments,
)
from amphora.cli.program import amphora
from amphora.testing import LocalServices
from tests.support.processes import ROOT
from tests.support.secrets import UNREADABLE_URLS, shown_parts, told_by

KINDS = (AmqpRpcClient, AmqpRpcFanoutClient, AmqpRpcServer, AmqpRpcFanoutServer, DeadLetters)

COMMANDS = (
    ["bench", "orders"],
    ["call", "orders", "add"],
    ["doctor", "orders"],
    ["functions", "orders"],
    ["health", "orders"],
    ["ping", "orders"],
    ["purge-dead", "orders", "--yes"],
    ["queues", "orders"],
    ["queues", "orders", "--management", "http://127.0.0.1:1"],
    ["requeue-dead", "orders"],
    ["serve", "nowhere:server"],
    ["shell", "orders"],
    ["top", "orders"],
)


def test_no_command_is_left_out() -> None:
    assert {name for name, *_ in COMMANDS} == set(amphora.list_commands(None)) - {"completion"}  # type: ignore[attr-defined,arg-type]


@pytest.mark.parametrize("url", UNREADABLE_URLS)
def test_no_constructor_shows_it(url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    attempts: list[Callable[[], object]] = [
        *(lambda kind=kind: kind("orders", broker_url=url) for kind in KINDS),
        *(lambda kind=kind: kind.check_arguments("orders", broker_url=url) for kind in KINDS),
        *(lambda kind=kind: kind("orders", amqp_host=url) for kind in KINDS),
        lambda: LocalServices(url)("orders", print),
    ]

    for attempt in attempts:
        with pytest.raises(ValueError, match=r"broker_url|amqp_host") as caught:
            attempt()
        assert shown_parts(told_by(caught.value) + caplog.text, url) == []


@pytest.mark.parametrize("url", UNREADABLE_URLS)
@pytest.mark.parametrize("name", ["broker_url", "default_broker_url"])
def test_no_override_shows_it(url: str, name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    with override_arguments(**{name: url}), pytest.raises(ValueError, match="percent-encode") as caught:  # type: ignore[arg-type]
        AmqpRpcClient("orders")

    assert shown_parts(told_by(caught.value) + caplog.text, url) == []


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_command_shows_it(command: list[str], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    # It waits for the broker itself, and logs in any case.
    options = [] if command[0] == "serve" else ["--connect-timeout=0.1", "-v"]
    for url in UNREADABLE_URLS:
        result = CliRunner().invoke(amphora, [*command, "--broker", url, *options])

        assert result.exit_code == 2, result.output
        assert "percent-encode" in result.output
        assert shown_parts(result.output + caplog.text, url) == []


@pytest.mark.parametrize("url", [each.replace("amqp", "http") for each in UNREADABLE_URLS])
def test_nor_does_the_management_api(url: str) -> None:
    result = CliRunner().invoke(amphora, ["queues", "orders", "--management", url])

    assert result.exit_code in (2, 4), result.output
    assert shown_parts(result.output, url) == []


#: Runs in a program that gevent has not patched, with all URLs.
THREADED = """
import json, logging, sys, traceback
logging.basicConfig(level="DEBUG")
from amphora import ThreadedClient
from tests.support.secrets import UNREADABLE_URLS, shown_parts, told_by
for url in UNREADABLE_URLS:
    try:
        ThreadedClient("orders", broker_url=url).call.add()
    except ValueError as error:
        print(json.dumps(shown_parts(told_by(error), url)))
    else:
        print(json.dumps("accepted"))
"""


def test_nor_does_a_client_for_threads() -> None:
    ran = subprocess.run([sys.executable, "-c", THREADED], cwd=ROOT, capture_output=True, text=True, timeout=100)

    assert [json.loads(line) for line in ran.stdout.splitlines()] == [[]] * len(UNREADABLE_URLS)
    assert not [url for url in UNREADABLE_URLS if shown_parts(ran.stderr, url)]
