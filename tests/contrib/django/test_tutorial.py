"""docs/django.md, typed in as it stands there: from startproject to calls in views, over RabbitMQ."""

import os
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import django
import port_for
import pytest
from django.test import override_settings
from gevent.subprocess import PIPE, STDOUT, run

from amphora.contrib.django import clients
from tests.documentation.development import Development
from tests.support.broker import HOST, Broker
from tests.support.consoles import Entry, entries
from tests.support.eventually import wait_until
from tests.support.fragments import run_fragment
from tests.support.pages import Block, Reading
from tests.support.processes import Program

PATIENCE = 60
#: What runs until it is stopped, by how it begins, with the line that says that it is ready.
SERVERS = {
    "python manage.py runserver_rpc": "orders.total",
    "python manage.py runserver": "Starting (WSGI )?development server",
    "DJANGO_ALLOW_ASYNC_UNSAFE=true python serve.py": "Uvicorn running on",
}
#: What somebody types into the shell.
SHELL = "python -m gevent.monkey manage.py shell"
TYPED = "from amphora.contrib.django import client\nprint('total', client.call.orders.total('alice'))\n"

#: Settings of the page that the project has from the beginning: Django 6.1 refuses both its and the older ones.
MAIL = 'EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"\n'
IN_SETTINGS_ALREADY = {MAIL: ""} if django.VERSION >= (6, 1) else {}


@dataclass
class Reader:
    """Somebody who types in what the page says.

    Args:
        folder: Where the project is made.
        replaced: What is different on this machine.
    """

    folder: Path
    replaced: Mapping[str, str]
    servers: dict[str, Program] = field(default_factory=dict)
    #: For each command with an answer on the page: the command, that answer, and the one that came.
    answers: list[tuple[str, str, str]] = field(default_factory=list)
    #: What the Python of another project has defined.
    elsewhere: dict[str, Any] = field(default_factory=dict)

    def read(self, blocks: Iterable[Block]) -> None:
        """Write the files of the page, run its commands and its other Python, from the top to the bottom."""
        for block in blocks:
            text = block.text
            for usual, here in self.replaced.items():
                text = text.replace(usual, here)
            here = replace(block, text=text)
            match block.language:
                case "console":
                    for entry in entries([here]):
                        self._type(entry)
                case "python" if block.file is not None:
                    self._write(block.file, text, at_end=block.goes_at_the_end)
                case "python":
                    self._try(here)
                case _:
                    raise AssertionError(f"{block}: nobody knows how to execute it")

    def _write(self, name: str, text: str, *, at_end: bool) -> None:
        path = self.folder / name
        with path.open("a" if at_end else "w") as file:
            file.write(f"\n{text}")
        # The servers have read it before: whoever types in the page starts them later.
        assert not self.servers or name == "serve.py"

    def _try(self, block: Block) -> None:
        """Run Python of another project, which calls this one."""
        names = self.elsewhere
        if "AMPHORA" not in names:
            run_fragment(block.text, names, block.compiled_as)
            return
        with override_settings(AMPHORA=names["AMPHORA"]):
            # As at the end of a fragment that only asks.
            *before, asking = block.text.splitlines()
            run_fragment("\n".join([*before, f"answer = {asking}"]), names, block.compiled_as)
            clients.reset()

    def _type(self, entry: Entry) -> None:
        command = entry.command
        if command.startswith("pip "):
            Development().check_all([entry])
        elif command.startswith("cd "):
            self.folder /= command.removeprefix("cd ")
        elif command in SERVERS:
            self._start(command)
        elif command == SHELL:
            assert "total 24.90" in self._run_program(command, typed=TYPED)
        else:
            answer = self._run(command, entry.output)
            if entry.output:
                self.answers.append((command, entry.output.strip(), answer))

    def _start(self, command: str) -> None:
        words = shlex.split(command)
        variables = dict(word.split("=") for word in words if "=" in word)
        *_, script = (word for word in words if word.endswith(".py"))
        arguments = words[words.index(script) + 1 :]
        if arguments == ["runserver"]:
            arguments.append(self.replaced["127.0.0.1:8000"])
        program = Program(self.folder / script, *arguments, env=variables)
        self.servers[command] = program
        program.wait_for_line(SERVERS[command], PATIENCE)

    def _run(self, command: str, expected: str) -> str:
        """Run a command; ask a web page until it answers what it shall, if it does: confirmations take their time."""
        if not command.startswith("curl "):
            return self._run_program(command)
        *options, url = shlex.split(command)[1:]
        data = "&".join(options[1::2]).encode() or None

        def asked() -> str:
            with urlopen(url, data, timeout=PATIENCE) as response:
                answer: str = response.read().decode()
                return answer

        if data is not None:
            return asked()
        answers: list[str] = []

        def is_expected() -> bool:
            answers.append(asked())
            return answers[-1] == expected.strip()

        # The test shows the difference.
        with suppress(AssertionError):
            wait_until(is_expected, PATIENCE / 2)
        return answers[-1]

    def _run_program(self, command: str, typed: str = "") -> str:
        words = shlex.split(command)
        environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        done = run(
            words,
            cwd=self.folder,
            env=environment,
            input=typed,
            stdout=PIPE,
            stderr=STDOUT,
            text=True,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}"
        return str(done.stdout).strip()

    def close(self) -> None:
        """End what was started."""
        for program in self.servers.values():
            program.close()


@pytest.fixture
def reader(broker: Broker, tmp_path: Path) -> Iterator[Reader]:
    broker.add_vhost("django-tutorial")
    reader = Reader(
        tmp_path,
        {
            "amqp://guest:guest@127.0.0.1:5672//": broker.url_for(vhost="django-tutorial"),
            # Of the project that calls this one.
            "amqp://...": broker.url_for(vhost="django-tutorial"),
            "127.0.0.1:8000": f"{HOST}:{port_for.select_random()}",
            "8001": str(port_for.select_random()),
            **IN_SETTINGS_ALREADY,
        },
    )
    yield reader
    reader.close()


@pytest.mark.page("docs/django.md")
@pytest.mark.timeout(300)
def test_the_tutorial_works_as_it_is_typed_in(page: Reading, reader: Reader) -> None:
    reader.read(page.take())

    assert len(reader.answers) == 6
    assert [came for _, _, came in reader.answers] == [expected for _, expected, _ in reader.answers]
    rpc, web, asgi = (reader.servers[command] for command in SERVERS)
    assert reader.elsewhere["answer"] == "24.90"
    # The customer's two mails, on the first terminal.
    assert rpc.output.count("Subject: Thank you") == 2
    assert "Traceback" not in "".join(program.output for program in (rpc, web, asgi))
    port = reader.replaced["8001"]
    with urlopen(f"http://{HOST}:{port}/totals/alice/", timeout=PATIENCE) as response:
        assert response.read() == b'{"customer": "alice", "total": "24.90"}'
