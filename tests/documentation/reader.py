"""Somebody who reads a page from the top to the bottom, and does with each block what one does with its kind."""

import configparser
import json
import re
import sys
import tomllib
from collections.abc import Iterable
from typing import Any

import yaml

from tests.documentation.development import Development
from tests.documentation.terminal import Terminal
from tests.support.consoles import Entry, assert_same_shape, entries
from tests.support.fragments import run_fragments
from tests.support.pages import Block

#: Seconds. The machine may be busy.
PATIENCE = 60
#: A program that OpenTelemetry's command runs, and what this command shall not send.
TRACED = """\
from gevent import monkey; monkey.patch_all()
from amphora import AmqpRpcClient, AmqpRpcServer

server = AmqpRpcServer({service!r}, broker_url="memory://")
server.add_function(lambda x, y: x + y, "add")
with server, AmqpRpcClient({service!r}, broker_url="memory://", timeout=60) as client:
    assert client.call.add(1, 2) == 3
"""
UNUSED = {"OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}


class Reader:
    """Runs Python as one program, types commands, and has configuration read by what reads its format.

    Args:
        names: what the page's Python takes for granted.
        terminal: where `amphora` commands are typed, and in whose directory files are written.
        broker_url: where the clients and servers of the page are.
    """

    def __init__(self, names: dict[str, Any], terminal: Terminal, broker_url: str) -> None:
        self.names = names
        self._terminal = terminal
        self._broker_url = broker_url
        self._development = Development()

    def read(self, blocks: Iterable[Block]) -> int:
        """Execute blocks in their order.

        Returns:
            How many values the comments of their Python say.

        Raises:
            AssertionError: one does not what it says, or is of a kind that nobody knows how to execute.
        """
        values = 0
        for block in blocks:
            match block.language:
                case "python":
                    values += run_fragments([block], self.names, self._broker_url)
                case "console":
                    for entry in entries([block]):
                        self._type(entry)
                case _:
                    parse(block)
        self._development.finish()
        return values

    def _type(self, entry: Entry) -> None:
        match entry.words:
            case ["amphora", *_]:
                printed = self._terminal.run(entry)
            case ["export", *variables]:
                self._terminal.environment.update(variable.split("=", 1) for variable in variables)
                return
            case ["opentelemetry-instrument", "python", script]:
                self._trace(entry, script)
                return
            case _:
                self._development.check(entry)
                return
        if entry.output:
            assert_same_shape(entry, printed, {self._terminal.broker: "amqp://guest@127.0.0.1:5672//"})

    def _trace(self, entry: Entry, script: str) -> None:
        """Run a program under OpenTelemetry's command, which shows the spans here instead of sending them."""
        service = self._terminal.environment["OTEL_SERVICE_NAME"]
        self._terminal.write({script: TRACED.format(service=service)})
        self._terminal.environment.update(OTEL_TRACES_EXPORTER="console", **UNUSED)
        program = self._terminal.start_installed(entry.words[0], sys.executable, self._terminal.directory / script)
        assert program.wait(PATIENCE) == 0, program.output
        kinds = set(re.findall(r'"kind": "SpanKind\.(CLIENT|SERVER)"', program.output))
        assert kinds == {"CLIENT", "SERVER"}, program.output


def parse(block: Block) -> Any:
    """Read configuration as what it is for would, and return what it holds.

    Raises:
        AssertionError: nobody knows how to read it, or it holds nothing.
    """
    match block.language:
        case "ini" if re.search(r"^\[", block.text, re.MULTILINE) is None:
            # RabbitMQ's, which knows no sections.
            lines = [line for line in block.text.splitlines() if line and not line.startswith("#")]
            found: Any = {name.strip(): value.strip() for name, _, value in (line.partition("=") for line in lines)}
            assert all(found.values()), str(block)
        case "ini":
            found = configparser.ConfigParser(interpolation=None)
            found.optionxform = str  # type: ignore[method-assign,assignment]
            found.read_string(block.text)
        case "toml":
            found = tomllib.loads(block.text)
        case "json":
            found = json.loads(block.text)
        case "yaml":
            found = yaml.safe_load(block.text)
        case _:
            raise AssertionError(f"{block}: nobody knows how to execute it; see {__name__}")
    assert found, str(block)
    return found
