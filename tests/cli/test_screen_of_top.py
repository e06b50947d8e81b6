"""The screen of `amphora top` in a terminal, over RabbitMQ."""

from collections.abc import Iterator

import gevent
import pytest

from amphora import AmqpRpcClient, RemoteException
from tests.cli.conftest import Shop
from tests.support.broker import Broker
from tests.support.terminal import Terminal

#: A rate, or a duration in milliseconds.
NUMBER = r" +\d+(\.\d+)?"


@pytest.fixture
def load(shop: Shop, service: str, broker: Broker) -> Iterator[None]:
    """Calls, one after the other, of which every second one fails."""
    with AmqpRpcClient(service, broker_url=broker.url, timeout=60) as client:

        def call_for_ever() -> None:
            while True:
                client.call.add(1, 2)
                with pytest.raises(RemoteException):
                    client.call.fail()

        calling = gevent.spawn(call_for_ever)
        yield
        calling.kill()


@pytest.mark.usefixtures("load")
def test_top_shows_run_times_without_wrapping_and_gives_the_terminal_back_at_ctrl_c(
    service: str, broker: Broker
) -> None:
    command = ("-m", "amphora", "top", service, "--functions", "--broker", broker.url)

    with Terminal(*command, columns=80, lines=24) as terminal:
        terminal.wait_for_screen(whole_screen(service), 60)
        terminal.resize(120, 40)
        terminal.wait_for_screen(whole_screen(service, cut=False), 60)
        terminal.type(chr(3))
        assert terminal.wait(60) == 0

    leaves, comes = b"\x1b[?1049l", b"\x1b[?1049h"
    assert terminal.written.rindex(leaves) > terminal.written.rindex(comes)
    assert not terminal.cursor_hidden


def whole_screen(service: str, *, cut: bool = True) -> str:
    """Say what is on a screen on which nothing is wrapped, by line; long names may be cut off."""
    queue = r"rpc_\S+" if cut else rf"rpc_{service}_(request|dead)"
    return (
        rf"{service} on amqp://\S+\n"
        rf"1 server,{NUMBER} calls/s, \d running, p50{NUMBER} ms, p99{NUMBER} ms\n"
        # How many columns there are depends on the length of the host's name.
        rf"\nSERVER .*CALLS/s +RUN +p50 +p99.*\n\S+:\d+ .*{NUMBER} +\d/100({NUMBER}){{2}}.*\n"
        rf"\nQUEUE +MESSAGES +CONSUMERS\n{queue} +\d +1\n{queue} +0 +0\n"
        rf"\nFUNCTION +CALLS/s +p50 +p99(\n(add|fail)({NUMBER}){{3}}){{2}}"
    )
