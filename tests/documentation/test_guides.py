"""The pages without a test of their own: a reader does with each block what one does with its kind.

What the pages take for granted is a client and a server with some functions, whatever is in their console blocks works
as `Reader` says. A page that needs more, or other things, gets a test of its own with the mark `page`.
"""

from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from tests.documentation.executions import guides
from tests.documentation.reader import Reader
from tests.documentation.terminal import Terminal
from tests.support.eventually import wait_until
from tests.support.pages import Reading

#: Seconds. The machine may be busy.
PATIENCE = 60
#: How many values the comments of the Python of a page say, at least.
VALUES = {
    "docs/calls.md": 6,
    "docs/routing.md": 1,
    "docs/broadcast.md": 1,
    "docs/lifecycle.md": 1,
    "docs/deadlines.md": 3,
    "docs/middleware.md": 2,
    "docs/introspection.md": 3,
    "docs/typing.md": 3,
    "docs/observability.md": 7,
}


@pytest.fixture(autouse=True)
def _structlog_as_it_was() -> Iterator[None]:
    """Undo what a page configures for its program."""
    yield
    structlog.reset_defaults()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("path", [pytest.param(each, marks=pytest.mark.page(each), id=each) for each in guides()])
def test_the_blocks_of_a_guide_do_what_they_say(
    page: Reading, path: str, names: dict[str, Any], terminal: Terminal, broker_url: str
) -> None:
    client, server = names["client"], names["server"]
    assert client.wait_connected(PATIENCE)
    wait_until(lambda: server.health().ready, PATIENCE)
    wait_until(client.inspect.ping, PATIENCE)

    compared = Reader(names, terminal, broker_url).read(page.take())

    assert compared >= VALUES.get(path, 0)
