"""The chat of examples/django, end to end: a core and two web processes under gunicorn, over RabbitMQ."""

from collections.abc import Iterator
from urllib.error import HTTPError
from uuid import uuid4

import pytest

from tests.contrib.django.chat import PATIENCE, Browser, Chat
from tests.support.broker import Broker
from tests.support.eventually import wait_until


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
