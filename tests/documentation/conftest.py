"""What the pages take for granted: a broker of their own, the public names, a client and a server with functions."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import amphora
from amphora import AmqpRpcClient, AmqpRpcServer
from tests.conftest import StartProgram
from tests.documentation.terminal import Terminal
from tests.support.broker import Broker


@pytest.fixture
def broker_url(broker: Broker, unique_name: Callable[[str], str]) -> str:
    """The pages' services have names that any test might use: each page gets a virtual host of its own."""
    vhost = unique_name("page")
    broker.add_vhost(vhost)
    return broker.url_for(vhost=vhost)


@pytest.fixture
def names(broker_url: str, service: str) -> Iterator[dict[str, Any]]:
    """What the fragments take for granted: the public names, a client, a server and its functions."""
    server = AmqpRpcServer(service, broker_url=broker_url)
    server.add_function(lambda x, y: x + y, name="add")
    server.add_function(str.upper, name="text.upper")
    server.add_function(show_message)
    names = {name: getattr(amphora, name) for name in amphora.__all__}
    with server, AmqpRpcClient(service, broker_url=broker_url, timeout=20) as client:
        names |= {"client": client, "server": server}
        yield names
        stop_endpoints(names)


def show_message(username: str, message: str) -> str:
    """Do what the server of a user's screen does."""
    return "shown"


@pytest.fixture
def terminal(start_program: StartProgram, broker_url: str, tmp_path: Path) -> Terminal:
    """A terminal in a directory of the test's own."""
    return Terminal(tmp_path, broker_url, start_program)


def stop_endpoints(names: dict[str, Any]) -> None:
    """Stop the clients and servers among the values that a page has made."""
    for value in [each for each in names.values() if isinstance(each, list)] + [list(names.values())]:
        for each in value:
            if isinstance(each, (AmqpRpcClient, AmqpRpcServer)):
                each.stop()
