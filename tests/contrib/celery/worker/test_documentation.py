"""The programs of docs/celery.md, as their reader types them."""

import re
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from tests.conftest import StartProgram
from tests.contrib.celery.worker.conftest import START, wait_served
from tests.support.broker import Broker
from tests.support.processes import ROOT, Program

BLOCK = re.compile(r"^( *)```python\n\s*# (\w+)\.py\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
Reader = Callable[..., Program]


@pytest.fixture
def reader(start_program: StartProgram, broker: Broker, unique_name: Callable[[str], str], tmp_path: Path) -> Reader:
    """Run a module, with the programs of the page in the current directory and a broker of the reader's own."""
    for _, name, source in BLOCK.findall((ROOT / "docs" / "celery.md").read_text()):
        # Its caller waits for five seconds, which a busy machine may need to start with.
        (tmp_path / f"{name}.py").write_text(dedent(source).replace("timeout=5", "timeout=60"))
    # The services have names that any test might use.
    vhost = unique_name("celery")
    broker.add_vhost(vhost)
    env = {"CELERY_BROKER_URL": broker.url_for(vhost=vhost), "PYTHONPATH": f"{tmp_path}:{ROOT}"}

    def run(*arguments: object) -> Program:
        return start_program(*arguments, env=env)

    return run


def test_the_tutorial_s_worker_answers_the_tutorial_s_client_and_the_terminal(reader: Reader) -> None:
    worker = wait_served(reader("-m", "celery", "-A", "shop", "worker", "-P", "gevent", "--amphora", "-l", "INFO"))

    client = reader("-m", "ask")
    terminal = reader("-m", "celery", "-A", "shop", "amphora", "call", "price", "apple", 3)
    listed = reader("-m", "celery", "-A", "shop", "amphora", "functions")

    assert client.wait(START) == 0
    assert client.lines == ["90", "[30, 45]"]
    assert terminal.wait(START) == 0
    assert terminal.lines == ["90"]
    assert listed.wait(START) == 0
    assert listed.lines == ["shop:", "  price(item, count=1)", "      Tell what so many of an item cost."]
    worker.wait_for_line("Dear Alice, ...", START)


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
