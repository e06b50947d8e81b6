"""Pages whose blocks are about a client and a server that they take for granted.

A new page of this kind needs a line here; what it shows is executed by `Reader`.
"""

from typing import Any

import pytest

from tests.documentation.reader import Reader
from tests.documentation.terminal import Terminal
from tests.support.broker import Broker
from tests.support.eventually import wait_until
from tests.support.pages import Reading

#: Seconds. The machine may be busy.
PATIENCE = 60


@pytest.mark.parametrize(
    "values",
    [
        pytest.param(3, marks=pytest.mark.page("docs/deadlines.md"), id="deadlines"),
        pytest.param(2, marks=pytest.mark.page("docs/middleware.md"), id="middleware"),
        pytest.param(3, marks=pytest.mark.page("docs/introspection.md"), id="introspection"),
        pytest.param(3, marks=pytest.mark.page("docs/typing.md"), id="typing"),
        pytest.param(5, marks=pytest.mark.page("docs/observability.md"), id="observability"),
    ],
)
def test_the_blocks_of_a_page_do_what_they_say(
    page: Reading, values: int, names: dict[str, Any], terminal: Terminal, broker: Broker, broker_url: str
) -> None:
    client, server = names["client"], names["server"]
    assert client.wait_connected(PATIENCE)
    wait_until(lambda: server.health().ready, PATIENCE)
    wait_until(client.inspect.ping, PATIENCE)

    compared = Reader(names, terminal, broker, broker_url).read(page.take())

    assert compared >= values
