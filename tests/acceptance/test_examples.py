"""Every program of examples/ as its reader runs it: a process each, over RabbitMQ."""

import ast
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import urlopen

import gevent
import port_for
import pytest
from gevent.pywsgi import WSGIServer

from tests.conftest import StartProgram
from tests.support.broker import HOST, Broker
from tests.support.processes import ROOT, Program

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
NO_BROKER = "amqp://guest:a-secret-password@127.0.0.1:1//"
CONNECTED = "server consumer: connected"


class StartExample:
    """Start a program of examples/ with the broker that BROKER_URL names."""

    def __init__(self, start_program: StartProgram, broker_url: str) -> None:
        self._start_program = start_program
        self._broker_url = broker_url

    def __call__(self, name: str, *arguments: object) -> Program:
        return self._start_program(f"examples/{name}.py", *arguments, env={"BROKER_URL": self._broker_url})

    def server(self, name: str, *arguments: object) -> Program:
        """Start a server and return when it takes requests."""
        program = self(name, *arguments)
        program.wait_for_line(CONNECTED)
        return program


@pytest.fixture(scope="module")
def broker_url(broker: Broker) -> str:
    """The examples' services have names that any test might use: they get a virtual host of their own."""
    broker.add_vhost("examples")
    return broker.url_for(vhost="examples")


@pytest.fixture
def start(start_program: StartProgram, broker_url: str) -> StartExample:
    return StartExample(start_program, broker_url)


@pytest.fixture
def web_site() -> Iterator[str]:
    """The address of a web site that is up; it has one page, /."""

    def page(environ: dict[str, str], start_response: Callable[..., object]) -> list[bytes]:
        start_response("200 OK" if environ["PATH_INFO"] == "/" else "404 Not Found", [])
        return [b"Hello!"]

    server = WSGIServer((HOST, 0), page, log=None)
    server.start()
    yield f"http://{HOST}:{server.server_port}"
    server.stop()


# The demonstration.

DEMO_SHOWS = [
    "client.call.add(2, 3) 5",
    "[result.get() for result in results] [1, 4, 9, 16, 25]",
    "client.call.divide(1, 0) RemoteException: ZeroDivisionError: division by zero",
    'client.call(routing_key="alice").show_message("Hi!") server 2 showed \'Hi!\'',
    "client.defer.announce(\"Lunch!\") screen 1 showed 'Lunch!'",
    "screen 2 showed 'Lunch!'",
    "screen 3 showed 'Lunch!'",
]


def test_the_demo_shows_everything_without_a_broker(start_program: StartProgram) -> None:
    demo = start_program("examples/demo.py", env={"BROKER_URL": ""})

    assert demo.wait(timeout=60) == 0
    assert [shown for shown in DEMO_SHOWS if shown not in without_alignment(demo)] == []
    assert "log:" not in demo.output


def test_the_demo_shows_everything_over_rabbitmq(start: StartExample) -> None:
    demo = start("demo")

    assert demo.wait(timeout=60) == 0
    assert [shown for shown in DEMO_SHOWS if shown not in without_alignment(demo)] == []
    assert "log:" not in demo.output


def test_the_demo_can_be_repeated_over_rabbitmq(start: StartExample) -> None:
    start("demo").wait(timeout=60)

    again = start("demo")

    assert again.wait(timeout=60) == 0
    assert again.lines[-1].startswith("All done.")


def test_the_demo_says_what_to_do_when_no_broker_answers(start_program: StartProgram) -> None:
    demo = start_program("examples/demo.py", env={"BROKER_URL": NO_BROKER})

    assert demo.wait(timeout=60) == 1
    assert "Connection refused" in demo.output
    assert "Is RabbitMQ running" in demo.output
    assert "Without BROKER_URL the demo needs no broker" in demo.output
    assert "a-secret-password" not in demo.output


def test_the_demo_says_which_password_is_wrong(start_program: StartProgram, broker: Broker) -> None:
    demo = start_program("examples/demo.py", env={"BROKER_URL": broker.url_for(password="a-wrong-password")})

    assert demo.wait(timeout=60) == 1
    assert "wrong user or password for 'guest'" in demo.output
    assert "a-wrong-password" not in demo.output


# Server and client.


def test_the_math_client_prints_results_and_exceptions_of_the_math_server(start: StartExample) -> None:
    start.server("math_server")

    client = start("math_client")

    assert client.wait() == 0
    assert client.lines == [
        "add(2, 3) = 5",
        "sub(10, 3) = 7",
        "div(64, 16) = 4.0",
        "sum_numbers(1, 2, 3, 4) = 10",
        "hypotenuses: [5.0, 13.0]",
        "RemoteException: TypeError: unsupported operand type(s) for ** or pow(): 'str' and 'int'",
        "RemoteException of type ValueError with args ('x', -5)",
        "WrongRequest: No function cube_root defined",
    ]


def test_the_math_client_may_be_started_before_the_math_server(start: StartExample) -> None:
    client = start("math_client")

    start.server("math_server")

    assert client.wait() == 0
    assert "add(2, 3) = 5" in client.lines


@pytest.mark.parametrize("name", ["math_server", "site_checker_server", "messages_api", "broadcast_server"])
def test_a_server_ends_in_good_order_when_it_is_asked_to(start: StartExample, name: str) -> None:
    server = start.server(name, *([port_for.select_random()] if name == "messages_api" else []))

    assert server.terminate() == 0
    assert "Traceback" not in server.output


# Deferred calls.


def test_the_site_checker_tells_sites_that_are_up_from_those_that_are_down(start: StartExample, web_site: str) -> None:
    start.server("site_checker_server")
    down = f"http://{HOST}:{port_for.select_random()}/"

    client = start("site_checker_client", f"{web_site}/", down, f"{web_site}/missing", "file:///etc/passwd")

    assert client.wait() == 0
    assert client.lines[1:] == [
        f"Site {web_site}/ is up",
        f"Site {down} is down",
        f"Site {web_site}/missing is up, and answers 404",
        "ValueError: not a web address: file:///etc/passwd",
    ]


# One user's queue.


def test_a_message_reaches_the_user_at_whichever_api_server_that_user_polls(start: StartExample) -> None:
    first, second = start_api(start), start_api(start)
    core = start("messages_core", "Alice", "Bob")
    core.wait_for_line("4 messages are stored")

    answers = [poll(first, "Alice"), poll(second, "Bob"), poll(second, "Alice"), poll(first, "Bob")]

    assert answers == ["Hello, Alice!", "Hello, Bob!", "Goodbye, Alice!", "Goodbye, Bob!"]
    assert core.wait() == 0
    assert [" ".join(line.split()) for line in core.lines[1:]] == [
        f"Hello, Alice! shown by API server {first}",
        f"Hello, Bob! shown by API server {second}",
        f"Goodbye, Alice! shown by API server {second}",
        f"Goodbye, Bob! shown by API server {first}",
    ]


def test_a_user_who_polls_first_waits_for_the_message(start: StartExample) -> None:
    api = start_api(start)
    answer = gevent.spawn(poll, api, "Carol")

    start("messages_core", "Carol")

    assert answer.get(timeout=20) == "Hello, Carol!"


def test_the_api_server_knows_no_page_without_a_user(start: StartExample) -> None:
    api = start_api(start)

    with pytest.raises(OSError, match="404"):
        poll(api, "")


# Broadcast.


def test_an_announcement_reaches_every_screen(start: StartExample) -> None:
    kitchen, office = start.server("broadcast_server", "kitchen"), start.server("broadcast_server", "office")

    client = start("broadcast_client", "Lunch!")

    assert client.wait() == 0
    assert client.output in ("First to show it: kitchen", "First to show it: office")
    kitchen.wait_for_line("^kitchen: Lunch!$")
    office.wait_for_line("^office: Lunch!$")


def test_an_announcement_for_one_room_is_ignored_by_the_others(start: StartExample) -> None:
    kitchen, office = start.server("broadcast_server", "kitchen"), start.server("broadcast_server", "office")

    client = start("broadcast_client", "The kettle boils.", "kitchen")

    assert client.wait() == 0
    assert client.output == "First to show it: kitchen"
    kitchen.wait_for_line("^kitchen: The kettle boils.$")
    # Whatever a server prints of a request, it prints before it ends.
    office.terminate()
    assert "kettle" not in office.output


def test_an_announcement_without_a_screen_says_so(start_program: StartProgram, broker: Broker) -> None:
    # The queues of the screens of other tests live for a minute: here there never was one.
    broker.add_vhost("examples-without-screens")
    url = broker.url_for(vhost="examples-without-screens")

    client = start_program("examples/broadcast_client.py", env={"BROKER_URL": url})

    assert client.wait() == 0
    assert client.output == "There is no screen: start some with examples/broadcast_server.py"


# All of them.


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_a_program_says_what_it_is_and_patches_before_it_imports_anything_else(path: Path) -> None:
    program = ast.parse(path.read_text())

    assert ast.get_docstring(program)
    assert [ast.unparse(statement) for statement in program.body[1:3]] == [
        "from gevent import monkey",
        "monkey.patch_all()",
    ]


def without_alignment(program: Program) -> list[str]:
    """Give a program's lines with one space for many."""
    return [" ".join(line.split()) for line in program.lines]


def start_api(start: StartExample) -> int:
    """Start an API server and return its port."""
    port = port_for.select_random()
    start.server("messages_api", port).wait_for_line("users poll at")
    return port


def poll(port: int, user: str) -> str | None:
    """Ask an API server for a user's next message."""
    with urlopen(f"http://{HOST}:{port}/{user}", timeout=30) as response:
        message: str | None = json.load(response)["message"]
        return message
