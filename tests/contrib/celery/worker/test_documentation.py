"""docs/celery.md: its programs and commands, as their reader types them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import StartProgram
from tests.contrib.celery.worker.conftest import START, wait_served
from tests.documentation.development import Development
from tests.support.broker import Broker
from tests.support.consoles import assert_contains_lines, entries
from tests.support.pages import Reading
from tests.support.processes import ROOT, Program

Reader = Callable[..., Program]


@pytest.fixture
def broker_url(broker: Broker, unique_name: Callable[[str], str]) -> str:
    """The services have names that any test might use."""
    vhost = unique_name("celery")
    broker.add_vhost(vhost)
    return broker.url_for(vhost=vhost)


@pytest.fixture
def reader(page: Reading, start_program: StartProgram, broker_url: str, tmp_path: Path) -> Reader:
    """Run a module, with the programs of the page in the current directory and a broker of the reader's own."""
    for name, source in page.take_files().items():
        # Its caller waits for five seconds, which a busy machine may need to start with.
        (tmp_path / name).write_text(source.replace("timeout=5", "timeout=60"))
    env = {"CELERY_BROKER_URL": broker_url, "PYTHONPATH": f"{tmp_path}:{ROOT}", "NO_COLOR": "1"}

    def run(*arguments: object) -> Program:
        return start_program(*arguments, env=env)

    return run


@pytest.mark.page("docs/celery.md", "A worker that answers", "Looking at it")
def test_the_tutorial_s_worker_answers_the_tutorial_s_client_and_the_terminal(
    page: Reading, reader: Reader, broker_url: str
) -> None:
    installing, starting, calling, looking = entries(page.take("console"))
    Development().check_all([installing])
    worker = wait_served(reader("-m", *starting.words))

    client = reader("-m", "ask")
    terminal = reader("-m", *calling.words)
    listed = reader("-m", "celery", "-A", "shop", "amphora", "functions")
    # Nobody else is asked, and a busy machine takes longer than a second.
    inspected = reader("-m", *looking.words, "-t", "30", "-d", _node_of(worker))

    assert client.wait(START) == 0
    assert client.lines == ["90", "[30, 45]"]
    assert terminal.wait(START) == 0
    assert f"{terminal.output}\n" == calling.output
    assert listed.wait(START) == 0
    assert listed.lines == ["shop:", "  price(item, count=1)", "      Tell what so many of an item cost."]
    assert inspected.wait(START) == 0
    worker.wait_for_line("Dear Alice, ...", START)
    here = {_node_of(worker): "celery@host", broker_url.partition("@")[2]: "localhost:5672//"}
    # Its two connections are made at the same time.
    assert_contains_lines(starting, worker.output, here, ordered=False)
    assert_contains_lines(looking, inspected.output, here)


@pytest.mark.page("docs/celery.md", "Moving a slow `.get()` to a call")
def test_a_get_that_was_moved_to_a_call_gives_the_same_answer(reader: Reader) -> None:
    before = reader("-m", "celery", "-A", "before", "worker", "-P", "gevent", "-l", "INFO", "-n", "before@localhost")
    # Both know their own tasks alone, and would take each other's from one queue.
    options = ["-P", "gevent", "-l", "INFO", "-n", "after@localhost", "-Q", "after"]
    after = reader("-m", "celery", "-A", "after", "worker", "--amphora", *options)
    before.wait_for_line("ready", START)
    wait_served(after)

    old = reader("-c", "from before import view; print(view([1, 2]))")
    new = reader("-c", "from after import view; print(view([1, 2]))")

    assert (old.wait(START), old.lines) == (0, ["3"])
    assert (new.wait(START), new.lines) == (0, ["3"])


@pytest.mark.page("docs/celery.md", "Side by side", "When the broker restarts")
def test_the_measurements_have_the_options_of_the_page(page: Reading) -> None:
    Development().check_all(entries(page.take("console")))


def _node_of(worker: Program) -> str:
    """Return a worker's name, which it has from its host."""
    return next(line for line in worker.lines if line.endswith(" ready.")).split()[-2]
