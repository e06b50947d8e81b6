"""Views that call RPC under the web servers that people use: each works, or says why it cannot and what to do."""

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen
from uuid import uuid4

import port_for
import pytest

from amphora.contrib.django import process
from tests.conftest import StartProgram
from tests.contrib.django.conftest import PROJECT
from tests.support.broker import HOST, Broker
from tests.support.eventually import wait_until
from tests.support.processes import Program

# Every process that is started takes seconds, on a busy machine many.
pytestmark = pytest.mark.timeout(300)

PATIENCE = 60
GUNICORN = ("-m", "gunicorn", "--no-control-socket", "--chdir", PROJECT, "--bind", f"{HOST}:PORT")
UVICORN = ("-m", "uvicorn", "--app-dir", PROJECT, "--host", HOST, "--port", "PORT", "shop.asgi:application")
PATCHED_UVICORN = """
from gevent import monkey; monkey.patch_all()
import sys, uvicorn
uvicorn.run("shop.asgi:application", host=sys.argv[1], port=int(sys.argv[2]), loop="asyncio")
"""

Environment = Mapping[str, str]


class Site:
    """The sample project under some web server."""

    def __init__(self, program: Program, port: int) -> None:
        self.program = program
        self._port = port

    def ask(self) -> Any:
        """Get the page that calls RPC: what it gives, or the text of the error, once the server answers."""
        request = Request(f"http://{HOST}:{self._port}/orders/42/total", headers={"Accept": "text/plain"})

        def answer() -> Any:
            try:
                with urlopen(request, timeout=PATIENCE) as response:
                    return json.load(response)
            except HTTPError as error:
                return error.read().decode()
            except OSError:
                assert self.program.running, self.program.output
                return None

        return wait_until(answer, PATIENCE)


Start = Callable[..., Site]


@pytest.fixture(scope="module")
def environment(broker: Broker) -> Iterator[Environment]:
    """The environment of the web servers; the project's handlers run in a process of their own."""
    environment = {
        "SHOP_BROKER_URL": broker.url,
        "SHOP_SUFFIX": f"_{uuid4().hex[:8]}",
        "SHOP_DEBUG": "1",
        "DJANGO_SETTINGS_MODULE": "shop.settings",
    }
    with Program(PROJECT / "manage.py", "runserver_rpc", "default", "--noreload", env=environment) as handlers:
        handlers.wait_for_line("orders.total", PATIENCE)
        yield environment


@pytest.fixture
def start(start_program: StartProgram, environment: Environment) -> Start:
    """Start a web server: its arguments get the port where they say PORT."""

    def start(*arguments: object, **variables: str) -> Site:
        port = port_for.select_random()
        given = [str(argument).replace("PORT", str(port)) for argument in arguments]
        return Site(start_program(*given, env={**environment, **variables}), port)

    return start


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the sample project, to be changed."""
    return Path(shutil.copytree(PROJECT, tmp_path / "shop"))


def test_runserver_patches_for_itself_and_reloads(start: Start, project: Path) -> None:
    site = start(project / "manage.py", "runserver", f"{HOST}:PORT")
    site.program.wait_for_line("Starting (WSGI )?development server", PATIENCE)
    assert site.ask() == {"order": 42, "total": 420}

    views = project / "orders" / "views.py"
    views.write_text(views.read_text().replace("client.call.orders.total(order_id)", "client.call.orders.total(1)"))

    def is_noticed() -> bool:
        # Again and again: the first look at the files, which the next ones are compared with, may be to come.
        views.touch()
        return "views.py changed, reloading" in site.program.output

    wait_until(is_noticed, PATIENCE)
    site.program.wait_for_line("Starting (WSGI )?development server", PATIENCE)
    assert site.ask() == {"order": 1, "total": 10}
    # As CONTROL-C at a terminal does, which reaches all processes.
    os.killpg(site.program.pid, signal.SIGINT)
    assert site.program.wait(PATIENCE) == 0
    assert "Traceback" not in site.program.output
    assert site.program.output.count("under gevent's monkey-patching") == 1


@pytest.mark.expects_errors("RuntimeError")
def test_runserver_without_the_patching_says_what_to_do(start: Start) -> None:
    site = start(PROJECT / "manage.py", "runserver", "--noreload", f"{HOST}:PORT", SHOP_PATCH_RUNSERVER="0")

    error = site.ask()

    assert "AMPHORA['default']: servers and clients need gevent's monkey-patching" in error
    assert "AMPHORA_PATCH_RUNSERVER" in error
    assert "amphora.W012" in site.program.output


def test_gunicorn_s_gevent_workers_call(start: Start) -> None:
    site = start(*GUNICORN, "-k", "gevent", "-w", "2", "--preload", "shop.wsgi")

    assert [site.ask()["total"] for _ in range(5)] == [420] * 5


@pytest.mark.expects_errors("RuntimeError")
def test_gunicorn_s_other_workers_say_which_to_take(start: Start) -> None:
    site = start(*GUNICORN, "-k", "gthread", "shop.wsgi")

    assert "start gunicorn with its gevent worker: gunicorn -k gevent" in site.ask()


@pytest.mark.expects_errors("RuntimeError")
def test_an_asgi_server_says_why_it_cannot_call_and_what_to_do(start: Start) -> None:
    site = start(*UVICORN)

    error = site.ask()

    assert "it is an ASGI server, on an asyncio event loop" in error
    assert "gunicorn -k gevent PROJECT.wsgi" in error
    assert "loop='asyncio'" in error
    assert "['THREADED'] = True" in error


def test_an_asgi_server_as_it_is_calls_from_threads(start: Start) -> None:
    site = start(*UVICORN, SHOP_THREADED="yes")

    assert [site.ask()["total"] for _ in range(5)] == [420] * 5


def test_an_asgi_server_that_is_patched_first_of_all_calls(start: Start) -> None:
    source = f"import sys; sys.path.insert(0, {str(PROJECT)!r})\n{PATCHED_UVICORN}"

    site = start("-c", source, HOST, "PORT", DJANGO_ALLOW_ASYNC_UNSAFE="true")

    assert [site.ask()["total"] for _ in range(5)] == [420] * 5


def test_a_patched_program_under_uvloop_ends_instead_of_waiting_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = type("Loop", (), {"__module__": "uvloop"})()
    monkeypatch.setattr(process.asyncio, "get_running_loop", lambda: loop)

    with pytest.raises(RuntimeError, match="uvicorn --loop asyncio"):
        process.check_event_loop()
