"""docs/django.md, typed in as it stands there: from startproject to calls in views, over RabbitMQ."""

import os
import re
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import urlopen

import django
import port_for
import pytest
from gevent.subprocess import PIPE, STDOUT, run

from tests.support.broker import HOST, Broker
from tests.support.eventually import wait_until
from tests.support.processes import ROOT, Program

PAGE = ROOT / "docs" / "django.md"
PATIENCE = 60
BLOCK = re.compile(r"^```(python|console)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
FILE = re.compile(r"# (at the end of )?([\w/]+\.py)\n")
#: What runs until it is stopped, by how it begins, with the line that says that it is ready.
SERVERS = {
    "python manage.py runserver_rpc": "orders.total",
    "python manage.py runserver": "Starting (WSGI )?development server",
    "DJANGO_ALLOW_ASYNC_UNSAFE=true python serve.py": "Uvicorn running on",
}
#: What needs more than this machine: the checkout is installed for the tests, and a shell wants a person.
NOT_RUN = ("pip install", "python -m gevent.monkey manage.py shell")

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

    def read(self, page: str) -> None:
        """Write the files of the page and run its commands, from the top to the bottom."""
        for kind, block in BLOCK.findall(page):
            for usual, here in self.replaced.items():
                block = block.replace(usual, here)
            if kind == "console":
                self._run_all(block)
            elif match := FILE.match(block):
                self._write(match[2], block, at_end=match[1] is not None)

    def _write(self, name: str, text: str, *, at_end: bool) -> None:
        path = self.folder / name
        with path.open("a" if at_end else "w") as file:
            file.write(f"\n{text}")
        # The servers have read it before: whoever types in the page starts them later.
        assert not self.servers or name == "serve.py"

    def _run_all(self, block: str) -> None:
        for entry in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, expected = entry.partition("\n")
            if command.startswith(NOT_RUN):
                continue
            if command.startswith("cd "):
                self.folder /= command.removeprefix("cd ")
            elif command in SERVERS:
                self._start(command)
            else:
                answer = self._run(command, expected)
                if expected:
                    self.answers.append((command, expected.strip(), answer))

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

    def _run_program(self, command: str) -> str:
        words = shlex.split(command)
        environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        done = run(words, cwd=self.folder, env=environment, stdout=PIPE, stderr=STDOUT, text=True, timeout=PATIENCE)
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
            "127.0.0.1:8000": f"{HOST}:{port_for.select_random()}",
            "8001": str(port_for.select_random()),
            **IN_SETTINGS_ALREADY,
        },
    )
    yield reader
    reader.close()


@pytest.mark.timeout(300)
def test_the_tutorial_works_as_it_is_typed_in(reader: Reader) -> None:
    reader.read(PAGE.read_text())

    assert len(reader.answers) == 6
    assert [came for _, _, came in reader.answers] == [expected for _, expected, _ in reader.answers]
    rpc, web, asgi = (reader.servers[command] for command in SERVERS)
    # The customer's two mails, on the first terminal.
    assert rpc.output.count("Subject: Thank you") == 2
    assert "Traceback" not in "".join(program.output for program in (rpc, web, asgi))
    port = reader.replaced["8001"]
    with urlopen(f"http://{HOST}:{port}/totals/alice/", timeout=PATIENCE) as response:
        assert response.read() == b'{"customer": "alice", "total": "24.90"}'
