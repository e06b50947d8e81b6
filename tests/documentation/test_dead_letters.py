"""docs/dead-letters.md: the commands and the program show dead letters, and give back the wanted ones."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from amphora import AmqpRpcClient, AmqpRpcServer, DeadLettered, IgnoreRequest, RpcJsonSerializer
from tests.conftest import StartProgram
from tests.documentation.conftest import stop_endpoints
from tests.documentation.terminal import Terminal
from tests.support.consoles import Entry, assert_same_shape, entries
from tests.support.eventually import wait_until
from tests.support.fragments import at, run_fragment
from tests.support.pages import Reading, blocks_of

#: Seconds. The machine may be busy.
PATIENCE = 60
(PROGRAM,) = [block.text for block in blocks_of("docs/dead-letters.md") if block.file == "dead_letters.py"]


class Shipping:
    """A function that does not work for a while."""

    def __init__(self) -> None:
        self.runs: list[int] = []
        self.works = False

    def ship(self, number: int) -> None:
        self.runs.append(number)
        if not self.works:
            raise IgnoreRequest


@pytest.fixture
def shipping() -> Shipping:
    return Shipping()


@pytest.fixture
def orders(page: Reading, shipping: Shipping, broker_url: str) -> Iterator[AmqpRpcServer]:
    """The server of the page, which does not wait before it gives a request back."""
    names: dict[str, Any] = {"AmqpRpcServer": AmqpRpcServer}
    block = page.take_one("python", containing="delivery_limit=5")
    run_fragment(at(broker_url, block.text.replace("=5", "=5, ignore_delay=0")), names)
    server: AmqpRpcServer = names["server"]
    server.add_function(shipping.ship)
    server.serve()
    yield server
    stop_endpoints(names)


@pytest.mark.page("docs/dead-letters.md")
def test_its_commands_and_its_program_show_them_and_give_them_back(
    page: Reading, orders: AmqpRpcServer, shipping: Shipping, terminal: Terminal, broker_url: str
) -> None:
    terminal.write(page.take_files())
    commands = entries(page.take("console"))
    with AmqpRpcClient("orders", broker_url=broker_url, timeout=PATIENCE) as client, pytest.raises(DeadLettered):
        client.call.ship(17)

    terminal.run(next(commands))
    terminal.run(next(commands))
    # It has no more luck than before.
    wait_until(lambda: orders.stats()["dead_lettered"] == 2, PATIENCE)
    shown = _run(terminal, next(commands), broker_url)
    shipping.works = True
    _run(terminal, next(commands), broker_url, request_id=shown.partition(" ")[0])

    wait_until(lambda: shipping.runs == [17] * 11, PATIENCE)
    assert list(commands) == []


def test_its_program_gives_back_what_it_is_told_and_leaves_the_rest(
    start_program: StartProgram, shipping: Shipping, broker_url: str, service: str
) -> None:
    server = AmqpRpcServer(service, broker_url=broker_url, delivery_limit=2, ignore_delay=0)
    server.add_function(shipping.ship)
    with server, AmqpRpcClient(service, broker_url=broker_url, timeout=20) as client:
        for number in (17, 18):
            with pytest.raises(DeadLettered):
                client.call.ship(number)
        assert server.prepare_stop(20)

        looking = start_program("-c", PROGRAM, broker_url, service)
        assert looking.wait() == 0
        ids = [line.partition(" ")[0] for line in looking.lines]
        giving_back = start_program("-c", PROGRAM, broker_url, service, ids[1])
        assert giving_back.wait() == 0
        server.serve()
        wait_until(lambda: server.stats()["dead_lettered"] == 3)
        assert server.prepare_stop(20)
        looking_again = start_program("-c", PROGRAM, broker_url, service)
        assert looking_again.wait() == 0

    origin = f"rpc_{service}_request delivery_limit"
    assert looking.lines == [
        f"{ids[0]} {origin} {_request_of('ship', 17)!r}",
        f"{ids[1]} {origin} {_request_of('ship', 18)!r}",
    ]
    assert shipping.runs == [17, 17, 18, 18, 18, 18]
    assert [line.partition(" ")[0] for line in looking_again.lines] == ids


def test_its_program_signs_what_it_gives_back(start_program: StartProgram, broker_url: str, service: str) -> None:
    key = "the key that they share"
    runs: list[int] = []

    def ship(number: int) -> None:
        runs.append(number)
        if len(runs) < 3:
            raise IgnoreRequest

    options: dict[str, Any] = {"broker_url": broker_url, "signing_keys": [key]}
    server = AmqpRpcServer(service, delivery_limit=2, ignore_delay=0, **options)
    server.add_function(ship)
    with server, AmqpRpcClient(service, timeout=20, **options) as client:
        result = client.defer(expires=20).ship(17)
        with pytest.raises(DeadLettered):
            result.get()
        looking = start_program("-c", PROGRAM, broker_url, service)
        assert looking.wait() == 0
        wanted = looking.lines[0].partition(" ")[0]

        giving_back = start_program("-c", PROGRAM, broker_url, service, wanted, env={"SIGNING_KEY": key})

        assert giving_back.wait() == 0
        wait_until(lambda: runs == [17, 17, 17])
        assert server.stats()["untrusted"] == 0


def _run(terminal: Terminal, entry: Entry, broker_url: str, request_id: str = "") -> str:
    """Run a `python` command of the page at the test's broker, and compare what it prints."""
    command = entry.command.replace("amqp://guest:guest@127.0.0.1//", broker_url)
    program = terminal.start_python(re.sub(r"\S+\.\.\.-\d+", request_id, command))
    assert program.wait(PATIENCE) == 0, program.output
    if entry.output:
        # orjson writes no spaces; the page is without the extra `speed`.
        assert_same_shape(entry, program.output, {": ": ":", ", ": ","})
    return program.output


def _request_of(function: str, *args: Any) -> bytes:
    return RpcJsonSerializer().dumps({"func": function, "args": args, "kwargs": {}})
