"""The command in this process for what needs no start of its own, and as a program for the rest."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest
from click.testing import CliRunner, Result

from amphora import AmqpRpcClient, AmqpRpcServer, DeadLettered, IgnoreRequest
from amphora.cli.program import amphora
from tests.conftest import StartProgram
from tests.support.broker import Broker
from tests.support.processes import Program

#: A process takes requests.
READY = r"\[\d+\] .*: ready"

SERVERS = '''\
import os
import gevent
from amphora import AmqpRpcClient, AmqpRpcServer, IgnoreRequest

server = AmqpRpcServer({service!r}, delivery_limit=2, ignore_delay=0, broker_url="amqp://nobody:wrong@127.0.0.1:1//")
client = AmqpRpcClient({service!r}, autostart=False, amqp_host="nowhere")
ignoring = True


@server.add_function
def add(x, y=1):
    """Add two numbers.

    They may be of any size.
    """
    return x + y


@server.add_function
def wait_for(path):
    open(path + ".begun", "w").close()
    while not os.path.exists(path):
        gevent.sleep(0.02)
    return os.getpid()


@server.add_function
def die():
    os._exit(1)


@server.add_function("stock.ship")
def ship(number):
    if ignoring:
        raise IgnoreRequest
    return number


@server.add_function
def stop_ignoring():
    global ignoring
    ignoring = False


@server.add_function
def where():
    return [server.broker, client.broker, server.concurrency]


def make():
    return server


def make_nothing():
    return None
'''


class Invoke(Protocol):
    """Run the command in this process, on the shared broker."""

    def __call__(self, *arguments: object, typed: str | None = None) -> Result: ...


class StartCommand(Protocol):
    """Start the command as a program, in the directory of the test's module, on the shared broker."""

    def __call__(self, *arguments: object, **env: str) -> Program: ...


@pytest.fixture
def invoke(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    monkeypatch.setenv("AMPHORA_BROKER_URL", broker.url)

    def run(*arguments: object, typed: str | None = None) -> Result:
        return CliRunner().invoke(amphora, [str(each) for each in arguments], input=typed)

    return run


@pytest.fixture
def directory(tmp_path: Path, service: str) -> Path:
    """A directory with a module `shop` that makes a server of the test's service, and names a broker that is none."""
    (tmp_path / "shop.py").write_text(SERVERS.format(service=service))
    return tmp_path


@pytest.fixture
def start_command(start_program: StartProgram, broker: Broker, directory: Path) -> StartCommand:
    source = f"import os, sys; os.chdir({str(directory)!r}); from amphora.cli.entry import main; main()"

    def start(*arguments: object, **env: str) -> Program:
        return start_program("-c", source, *arguments, env={"AMPHORA_BROKER_URL": broker.url, "COLUMNS": "80", **env})

    return start


@pytest.fixture
def serve(start_command: StartCommand, broker: Broker) -> Callable[..., Program]:
    """Start `amphora serve shop:server` with further arguments, and wait until it is ready."""

    def start(*arguments: object, target: str = "shop:server", processes: int = 1) -> Program:
        program = start_command("serve", target, "--broker", broker.url, *arguments)
        for _ in range(processes):
            program.wait_for_line(READY, 60)
        return program

    return start


class Shop:
    """A server in this process, of the test's service, with two tries for each request."""

    def __init__(self, service: str, broker_url: str) -> None:
        self._broker_url = broker_url
        self.shipped: list[int] = []
        self.ignoring = True
        self.server = AmqpRpcServer(service, broker_url=broker_url, delivery_limit=2, ignore_delay=0)
        self.server.add_function(self.add)
        self.server.add_function(self.ship, name="stock.ship")
        self.server.add_function(self.fail)

    def add(self, x: Any, y: Any = 1) -> Any:
        """Add two numbers.

        They may be of any size.
        """
        return x + y

    def ship(self, number: int) -> None:
        self.shipped.append(number)
        if self.ignoring:
            raise IgnoreRequest

    def fail(self) -> None:
        raise ValueError("sold out")

    def bury(self, *numbers: int) -> None:
        """Make dead letters of requests to ship with these numbers."""
        with AmqpRpcClient(self.server.service_name, broker_url=self._broker_url, timeout=60) as client:
            for number in numbers:
                with pytest.raises(DeadLettered):
                    client.call(function_name="stock.ship")(number)


@contextmanager
def open_shop(service: str, broker_url: str) -> Iterator[Shop]:
    """Serve a shop, connected, for as long as the block lasts."""
    shop = Shop(service, broker_url)
    with shop.server:
        assert shop.server.wait_connected(60)
        yield shop


@pytest.fixture
def shop(service: str, broker: Broker) -> Iterator[Shop]:
    with open_shop(service, broker.url) as shop:
        yield shop
