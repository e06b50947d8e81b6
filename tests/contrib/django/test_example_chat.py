"""The chat of examples/django, end to end: a core and two web processes under gunicorn, over RabbitMQ."""

from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from uuid import uuid4

import port_for
import psutil
import pytest

from tests.conftest import StartProgram
from tests.contrib.django.chat import PATIENCE, PROJECT, Browser, Chat
from tests.contrib.django.chat_page import Page
from tests.support.broker import Broker
from tests.support.browser import start_browser
from tests.support.eventually import wait_until

# Every process that is started takes seconds, on a busy machine many.
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def processes(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chat]:
    chat = Chat(broker, tmp_path_factory.mktemp("chat"))
    chat.migrate()
    yield chat
    chat.close()


@pytest.fixture
def chat(processes: Chat, request: pytest.FixtureRequest) -> Iterator[Chat]:
    """All processes, running; those that the test before has killed are new."""
    processes.start()
    yield processes
    for program in processes.programs:
        request.node.add_report_section("teardown", str(program), program.output)


@pytest.fixture
def alice(chat: Chat) -> Browser:
    """Alice, whom the first web process knows and who has seen what there was to see."""
    return newcomer(chat, "Alice", 0)


@pytest.fixture
def bob(chat: Chat) -> Browser:
    """Bob, at the second web process."""
    return newcomer(chat, "Bob", 1)


def newcomer(chat: Chat, name: str, web: int) -> Browser:
    browser = Browser(f"{name}_{uuid4().hex[:6]}", chat.ports[web])
    browser.enter()
    # Its first message ends its first poll, which shows old messages too.
    browser.say(f"{browser.name} is here", recipient=browser.name)
    browser.poll_until(f"{browser.name} is here")
    browser.shown.clear()
    return browser


def test_a_message_wakes_the_polls_at_whichever_process_holds_them(chat: Chat, alice: Browser, bob: Browser) -> None:
    with alice.polling() as alices, bob.polling() as bobs:
        chat.wait_for_poll(alice)
        chat.wait_for_poll(bob)

        alice.say("Hello, everyone!")

        assert alices.get(timeout=PATIENCE) == ["Hello, everyone!"]
        assert bobs.get(timeout=PATIENCE) == ["Hello, everyone!"]
    assert "web 1" in alice.process
    assert "web 2" in bob.process
    assert {alice.name, bob.name} <= set(bob.present)


def test_a_message_to_one_user_reaches_that_user_alone(chat: Chat, alice: Browser, bob: Browser) -> None:
    carol = newcomer(chat, "Carol", 0)
    with alice.polling() as alices, carol.polling() as carols:
        chat.wait_for_poll(alice)
        chat.wait_for_poll(carol)

        bob.say("For Alice", recipient=alice.name)

        assert alices.get(timeout=PATIENCE) == ["For Alice"]
        bob.say("For all")
        assert carols.get(timeout=PATIENCE) == ["For all"]
    # Between two polls it waits.
    assert alice.poll() == ["For all"]
    assert bob.poll_until("For all") == ["For Alice", "For all"]


def test_two_tabs_of_one_user_show_the_same(chat: Chat, alice: Browser, bob: Browser) -> None:
    tab = Browser(alice.name, chat.ports[1], jar=alice.jar)
    tab.poll_until(f"{alice.name} is here")
    with alice.polling() as one, tab.polling() as other:
        chat.wait_for_poll(alice)
        chat.wait_for_poll(tab)

        bob.say("Once for each", recipient=alice.name)

        assert one.get(timeout=PATIENCE) == other.get(timeout=PATIENCE) == ["Once for each"]


def test_a_message_that_a_browser_sends_twice_is_shown_once(alice: Browser, bob: Browser) -> None:
    key = str(uuid4())

    for _ in range(2):
        bob.say("Said twice", recipient=alice.name, key=key)
    bob.say("Said later", recipient=alice.name)

    assert alice.poll_until("Said later") == ["Said twice", "Said later"]


def test_a_page_that_is_closed_leaves_no_queue(chat: Chat, alice: Browser) -> None:
    assert chat.queue_of(alice)

    alice.ask(f"/close/{alice.tab}", b"")

    wait_until(lambda: chat.queue_of(alice) is None, PATIENCE)


def test_a_web_process_that_is_killed_in_mid_poll_loses_nothing(chat: Chat, alice: Browser, bob: Browser) -> None:
    texts = [f"Message {number}" for number in range(12)]
    with alice.polling():
        chat.wait_for_poll(alice)

        for text in texts:
            bob.say(text, recipient=alice.name)
            if text == texts[4]:
                chat.kill_web(0)
    # What the first answers brought, Alice may have seen or not: it is the tab that says how far it has come.
    alice.port = chat.ports[1]

    assert sorted(alice.poll_until(*texts)) == sorted(texts)
    assert "web 2" in alice.process


def test_a_core_that_is_killed_loses_nothing(chat: Chat, alice: Browser, bob: Browser) -> None:
    texts = [f"Message {number}" for number in range(12)]
    with alice.polling():
        chat.wait_for_poll(alice)

        for text in texts:
            bob.say(text, recipient=alice.name)
            if text == texts[4]:
                chat.kill_core()
    chat.start()

    assert sorted(alice.poll_until(*texts)) == sorted(texts)


def test_who_has_no_name_is_not_let_in(chat: Chat) -> None:
    browser = Browser("Mallory", chat.ports[0])

    page = browser.ask("/").decode()
    with pytest.raises(HTTPError, match="403"):
        browser.poll()
    with pytest.raises(HTTPError, match="400"):
        Browser("<b>", chat.ports[0]).enter()

    assert "Your name" in page


def test_the_page_shows_what_is_said_and_goes_on_when_its_web_process_is_back(chat: Chat, tmp_path: Path) -> None:
    names = [f"{name}_{uuid4().hex[:6]}" for name in ("Alice", "Bob")]
    chromium = start_browser(tmp_path / "profile")
    try:
        alice, bob = Page(chromium, names[0]), Page(chromium, names[1])
        # Two names of one machine: the browser keeps a session for each.
        alice.enter(f"http://localhost:{chat.ports[0]}/")
        bob.enter(f"http://127.0.0.1:{chat.ports[1]}/")

        alice.say("<b>Hello</b>")
        bob.wait_for("<b>Hello</b>")
        bob.choose(alice.name)
        bob.say("Just for you")
        alice.wait_for(f"{bob.name} to {alice.name}")
        chat.kill_web(0)
        bob.say("Are you there?")
        chat.start()
        alice.wait_for("Are you there?")
        # Nothing twice, and nothing that is still being sent.
        said = ["<b>Hello</b>", "Just for you", "Are you there?"]
        assert alice.texts(*said) == bob.texts(*said) == said
    finally:
        chromium.quit()


def test_one_command_starts_everything_and_ends_it(broker: Broker, start_program: StartProgram, tmp_path: Path) -> None:
    broker.add_vhost("django-chat-demo")
    ports = [port_for.select_random(), port_for.select_random()]
    environment = {
        "BROKER_URL": broker.url_for(vhost="django-chat-demo"),
        "CHAT_DATABASE": str(tmp_path / "chat.sqlite3"),
    }
    demo = start_program(PROJECT / "run.py", *ports, env=environment)
    demo.wait_for_line("Ctrl.C ends all", PATIENCE)
    browser = Browser("Alice", ports[1])
    browser.enter()
    browser.say("Hello!")
    assert browser.poll_until("Hello!")

    (core,) = [each for each in psutil.Process(demo.pid).children() if "runserver_rpc" in each.cmdline()]
    core.kill()

    demo.wait_for_line("killed .SIGKILL.; starting it again", PATIENCE)
    browser.say("Hello again!")
    assert browser.poll_until("Hello again!")
    assert demo.terminate(PATIENCE) == 0


def test_one_command_says_what_to_do_where_no_broker_answers(start_program: StartProgram) -> None:
    demo = start_program(PROJECT / "run.py", env={"BROKER_URL": "amqp://guest:a-secret-password@127.0.0.1:1//"})

    assert demo.wait(PATIENCE) == 1
    assert "Connection refused" in demo.output
    assert "Is RabbitMQ running" in demo.output
    assert "a-secret-password" not in demo.output


def test_a_rabbitmq_of_its_own_starts_and_leaves_nothing_behind(start_program: StartProgram, tmp_path: Path) -> None:
    source = f"""
import sys
sys.path.insert(0, {str(PROJECT.parent / "shared")!r})
from own_rabbitmq import OwnRabbitMQ
own = OwnRabbitMQ()
print("started", own.wait_started(), own.url, flush=True)
from gevent import monkey; monkey.patch_all()
from amphora import AmqpRpcClient
with AmqpRpcClient("chat", broker_url=own.url) as client:
    print("connected", client.wait_connected(30), flush=True)
own.close()
"""
    program = start_program("-c", source, env={"TMPDIR": str(tmp_path)})

    assert program.wait(PATIENCE) == 0
    assert [line.split()[:2] for line in program.lines] == [["started", "True"], ["connected", "True"]]
    assert list(tmp_path.iterdir()) == []
