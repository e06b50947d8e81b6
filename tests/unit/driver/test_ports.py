"""Each transport has what the links use of it, by itself or from py-amqp and Kombu, where mypy sees no types."""

import inspect
from typing import Any

import kombu
import pytest

from amphora.driver import memory, stock, transport
from amphora.driver.ports import ChannelPort, ConnectionPort

CLASSES = [
    *((each.Channel, ChannelPort) for each in (transport, stock, memory)),
    *((each.Connection, ConnectionPort) for each in (transport, stock, memory)),
]
MEMBERS = [
    pytest.param(cls, port, name, id=f"{cls.__module__}.{cls.__name__}.{name}")
    for cls, port in CLASSES
    for name, member in vars(port).items()
    if not name.startswith("_") and (callable(member) or isinstance(member, property))
]


@pytest.mark.parametrize(("cls", "port", "name"), MEMBERS)
def test_what_a_port_declares_is_there(cls: type, port: type, name: str) -> None:
    assert getattr(cls, name) is not getattr(port, name)


@pytest.mark.parametrize(("cls", "port", "name"), [each for each in MEMBERS if each.values[2] != "tls_session"])
def test_what_a_port_declares_can_be_called_so(cls: type, port: Any, name: str) -> None:
    parameters = list(inspect.signature(getattr(port, name)).parameters.values())
    named = [each for each in parameters if each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)]
    by_keyword = {each.name: None for each in named if each.kind is each.KEYWORD_ONLY}
    by_position = [None for each in named if each.kind is not each.KEYWORD_ONLY]

    inspect.signature(getattr(cls, name)).bind(*by_position, **by_keyword)


def test_a_connection_in_memory_has_every_attribute() -> None:
    connection = kombu.Connection("memory://", transport=memory.Transport).transport.establish_connection()
    channel = connection.channel()

    assert [name for name in ConnectionPort.__annotations__ if not hasattr(connection, name)] == []
    assert [name for name in ChannelPort.__annotations__ if not hasattr(channel, name)] == []
