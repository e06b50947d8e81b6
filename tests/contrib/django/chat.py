"""The chat of examples/django as its users meet it: processes over RabbitMQ, and browsers without a screen."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from http.client import HTTPException
from http.cookiejar import CookieJar
from pathlib import Path
from socket import create_connection
from typing import Any
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, OpenerDirector, Request, build_opener
from uuid import uuid4

import gevent
import port_for

from tests.support.broker import HOST, Broker, QueueInfo
from tests.support.eventually import wait_until
from tests.support.processes import ROOT, Program

PROJECT = ROOT / "examples" / "django"
VHOST = "django-chat"
#: Seconds for anything to happen on a slow machine.
PATIENCE = 60


class Chat:
    """The processes of the chat, to be killed and started again."""

    def __init__(self, broker: Broker, folder: Path) -> None:
        self._broker = broker
        broker.add_vhost(VHOST)
        self.environment: Mapping[str, str] = {
            "BROKER_URL": broker.url_for(vhost=VHOST),
            "CHAT_DATABASE": str(folder / "chat.sqlite3"),
        }
        self.ports = [port_for.select_random(), port_for.select_random()]
        self.core: Program | None = None
        self.webs: list[Program | None] = [None, None]

    def start(self) -> None:
        """Start whatever does not run."""
        if self.core is None or not self.core.running:
            self.core = self._program(PROJECT / "manage.py", "runserver_rpc", "default", "--noreload")
        for number, web in enumerate(self.webs):
            if web is None or not web.running:
                self.webs[number] = self._program(
                    *("-m", "gunicorn", "--chdir", PROJECT, "--config", PROJECT / "gunicorn.conf.py"),
                    *("--bind", f"{HOST}:{self.ports[number]}"),
                    env={"CHAT_PROCESS": f"web {number + 1}"},
                )
        for port in self.ports:
            wait_until(partial(_listens, port), PATIENCE, "a web process that listens")

    @property
    def programs(self) -> list[Program]:
        """The processes that were started last."""
        return [program for program in (self.core, *self.webs) if program is not None]

    def migrate(self) -> None:
        """Make the core's tables."""
        assert self._program(PROJECT / "manage.py", "migrate").wait(PATIENCE) == 0

    def kill_core(self) -> None:
        """Kill the core (`kill -9`)."""
        assert self.core is not None
        self.core.kill()

    def kill_web(self, number: int) -> None:
        """Kill a web process, gunicorn and its worker (`kill -9`)."""
        web = self.webs[number]
        assert web is not None
        web.kill()

    def close(self) -> None:
        """End all processes."""
        for program in self.programs:
            program.close()

    def wait_for_poll(self, browser: "Browser") -> None:
        """Wait until some web process holds a browser's poll."""

        def is_held() -> bool:
            queue = self.queue_of(browser)
            return queue is not None and queue.consumers == 1

        wait_until(is_held, PATIENCE, f"the poll of {browser.name}")

    def queue_of(self, browser: "Browser") -> QueueInfo | None:
        """Return the queue that a browser's messages wait in, if it has one."""
        return self._broker.queues(VHOST).get(f"rpc_chat_screens_queue_{browser.label}")

    def _program(self, *arguments: object, env: Mapping[str, str] | None = None) -> Program:
        return Program(*arguments, env={**self.environment, **(env or {})})


class Browser:
    """A tab that is open at some web process: what the page's script does."""

    def __init__(self, name: str, port: int, jar: CookieJar | None = None) -> None:
        self.name = name
        self.port = port
        self.tab = uuid4().hex
        self.jar = CookieJar() if jar is None else jar
        self.shown: list[str] = []
        self.present: list[str] = []
        self.process = ""
        self._after = 0

    @property
    def label(self) -> str:
        """The label of the queue of its messages."""
        return f"{self.name}.{self.tab}"

    def enter(self) -> str:
        """Get in, and return the page."""
        self.ask("/")
        return self.ask("/enter", urlencode({"name": self.name}).encode()).decode()

    def say(self, text: str, recipient: str = "", key: str | None = None) -> None:
        """Say something; returns when the broker has it."""
        self.ask("/messages", json.dumps({"key": key or str(uuid4()), "recipient": recipient, "text": text}).encode())

    def poll(self) -> list[str]:
        """Poll once, and return the texts that came."""
        news = json.loads(self.ask(f"/poll/{self.tab}?after={self._after}"))
        self.process = news["process"]
        self.present = news.get("present", self.present)
        texts = [message["text"] for message in news["messages"]]
        if news["messages"]:
            self._after = news["messages"][-1]["id"]
        self.shown += texts
        return texts

    def poll_until(self, *texts: str) -> list[str]:
        """Poll until these texts are shown, and return all that are; tries again where nobody answers."""

        def are_shown() -> bool:
            # Refused, reset, or ended in the middle: as the page does, it asks again.
            with suppress(OSError, HTTPException):
                self.poll()
            return set(texts) <= set(self.shown)

        wait_until(are_shown, PATIENCE, f"{texts} are shown")
        return self.shown

    @contextmanager
    def polling(self) -> Iterator[Any]:
        """Poll in the background: gives a greenlet, whose value is the texts that came."""
        greenlet = gevent.spawn(self.poll)
        try:
            yield greenlet
        finally:
            greenlet.kill(block=False)

    def ask(self, path: str, data: bytes | None = None) -> bytes:
        """Ask the web process for something."""
        cookies = {cookie.name: cookie.value or "" for cookie in self.jar}
        request = Request(f"http://{HOST}:{self.port}{path}", data, {"X-CSRFToken": cookies.get("csrftoken", "")})
        with self._opener().open(request, timeout=PATIENCE) as response:
            answer: bytes = response.read()
            return answer

    def _opener(self) -> OpenerDirector:
        return build_opener(HTTPCookieProcessor(self.jar))


def _listens(port: int) -> bool:
    with suppress(OSError):
        create_connection((HOST, port)).close()
        return True
    return False
