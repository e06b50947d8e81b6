"""docs/cli.md: its commands, typed from the top to the bottom, print what it says."""

import ast
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import count

import gevent
import pytest

from amphora import AmqpRpcClient, AmqpRpcServer, DeadLettered
from amphora.cli.probes import Probes
from tests.documentation.development import Development
from tests.documentation.orders import ORDERS
from tests.documentation.terminal import Terminal
from tests.support.broker import Broker
from tests.support.consoles import Entry, assert_contains_lines, assert_same_shape, entries, shape
from tests.support.eventually import wait_until
from tests.support.pages import Reading
from tests.support.processes import Program

#: Seconds. The machine may be busy.
PATIENCE = 60
PROMPT = ">>> "
PATIENT = ("--timeout", "30", "--servers", "2")
#: What the test adds to commands so that they end, or do not give up on a busy machine.
ADDED = {
    "amphora functions": PATIENT,
    "amphora health": PATIENT,
    "amphora ping": PATIENT,
    "amphora bench": ("--duration", "0.3"),
}
#: What is typed while a command runs.
TYPED = {"amphora purge-dead": "y\n"}
#: What commands end with where it is not 0.
STATUSES = {"amphora doctor": 1}
#: In what these print, nothing varies.
EXACT = ("amphora call", "amphora functions", "amphora queues", "amphora purge-dead")


class Orders:
    """The service of the page: it is served by the page's commands, and is in the state that the page speaks of."""

    def __init__(self, terminal: Terminal, broker_url: str) -> None:
        self._terminal = terminal
        self._broker_url = broker_url
        self._programs: list[Program] = []
        self._calling = gevent.Greenlet()
        self._called_enough = False
        self._ends = ExitStack()
        self.client = self._ends.enter_context(
            AmqpRpcClient("orders", broker_url=broker_url, declare=False, timeout=PATIENCE)
        )
        terminal.write({"orders/rpc.py": ORDERS})

    def serve(self, entry: Entry) -> str:
        """Start what the page starts, and return what it prints until it is ready."""
        program = self._terminal.start(entry.command)
        self._programs.append(program)
        program.wait_for_line(r"^\[\d+\] orders: ready", PATIENCE)
        # What is logged goes to the same place here, and is nothing of the page's.
        return "\n".join(line for line in program.lines if line.startswith("["))

    def be_called(self) -> None:
        """Call all functions, until the dead letter is made."""
        self._terminal.write({"shippable": ""})

        def call_on() -> None:
            for number in count():
                if self._called_enough:
                    return
                results = [self.client.defer.add(number) for _ in range(10)]
                self.client.call.ship(number)
                gevent.joinall(results)

        self._calling = gevent.spawn(call_on)

    def bury(self) -> None:
        """Make a dead letter, and Alice's queue, which a server waits for."""
        # A request that is still under way would become a dead letter too.
        self._called_enough = True
        self._calling.join(PATIENCE)
        (self._terminal.directory / "shippable").unlink()
        self.client.create_new_request_queue("Alice")
        wait_until(lambda: self.client.queue_status("Alice")["rpc_orders_queue_Alice"].consumers == 1, PATIENCE)
        with pytest.raises(DeadLettered):
            self.client.call.ship(17)
        # From now on it can be done.
        self._terminal.write({"shippable": ""})

    def leave_alone(self) -> None:
        """End all servers, and let twelve requests wait."""
        for program in self._programs:
            assert program.terminate(PATIENCE) == 0, program.output
        for _ in range(12):
            self.client.defer.add(1)

    def serve_again(self) -> None:
        """Serve from this process."""
        server = AmqpRpcServer("orders", broker_url=self._broker_url, delivery_limit=5)
        server.add_function(lambda x, y=1: x + y, name="add")
        self._ends.enter_context(server)

    def close(self) -> None:
        """End what runs in this process."""
        self._calling.kill()
        self._ends.close()


@pytest.fixture
def orders(terminal: Terminal, broker_url: str) -> Iterator[Orders]:
    orders = Orders(terminal, broker_url)
    yield orders
    orders.close()


@pytest.mark.timeout(300)
@pytest.mark.page("docs/cli.md")
def test_its_commands_print_what_it_says(
    page: Reading, terminal: Terminal, orders: Orders, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("amphora.cli.purge_dead.can_be_asked", lambda: True)
    development = Development()
    before = {
        "amphora top": orders.be_called,
        "amphora queues": orders.bury,
        "amphora doctor": orders.leave_alone,
        "amphora bench": orders.serve_again,
    }
    varies = {terminal.broker: "amqp://guest@127.0.0.1:5672//", broker.node.partition("@")[0]: "rabbit"}
    if broker.release >= (4, 0):
        varies["is a quorum queue"] = "is a classic queue"

    for entry in entries(page.take("console")):
        command = " ".join(entry.words[:2])
        before.pop(command, lambda: None)()
        match command.split():
            case ["pip", _]:
                development.check(entry)
                continue
            case ["amphora", "serve"]:
                printed = orders.serve(entry)
            case ["amphora", "shell"]:
                printed = _type_into_the_shell(terminal, entry)
            case ["amphora", "top"]:
                printed = _watch(terminal, entry, varies)
            case ["amphora", "health"] if "--port" in entry.words:
                printed = _probe(terminal, entry)
            case _:
                more, status = ADDED.get(command, ()), STATUSES.get(command, 0)
                printed = terminal.run(entry, *more, typed=TYPED.get(command), status=status)
        if command in EXACT:
            assert entry.output in ("", printed), f"{entry} printed:\n{printed}"
        elif command == "amphora doctor":
            # Machines differ in what there is to remark besides.
            assert_contains_lines(entry, printed, varies)
        elif entry.output:
            assert_same_shape(entry, printed, varies)

    development.finish()
    bash, stub = terminal.directory / ".bashrc", terminal.directory / "orders_api.py"
    assert "complete" in bash.read_text()
    assert [each for each in ast.walk(ast.parse(stub.read_text())) if isinstance(each, ast.ClassDef)]


def _type_into_the_shell(terminal: Terminal, entry: Entry) -> str:
    """Type the lines that the page shows after the prompt, and return all that is seen then."""
    lines = entry.output.splitlines(keepends=True)
    typed = [line for line in lines if line.startswith(PROMPT)]
    printed = terminal.run(entry, typed="".join(typed).replace(PROMPT, ""))
    # Into a pipe, it prints results alone.
    assert printed == "".join(line for line in lines if line not in typed), str(entry)
    return entry.output


def _probe(terminal: Terminal, entry: Entry) -> str:
    """Ask a server that answers at another port than the page's, which may be taken."""
    with AmqpRpcServer("orders", broker_url="memory://") as server:
        wait_until(lambda: server.health().ready, PATIENCE)
        probes = Probes([server], "127.0.0.1", 0)
        probes.start()
        printed = terminal.run(replace(entry, command=entry.command.replace("9100", str(probes.port))))
        probes.stop()
    return printed


def _watch(terminal: Terminal, entry: Entry, varies: dict[str, str]) -> str:
    """Return the second screen, as the first one knows no rates; on a busy machine servers need longer to answer."""
    for interval in ("1", "5", "30"):
        printed = terminal.run(entry, "--rounds", "2", "--interval", interval)
        title = printed.partition("\n")[0]
        second = title + printed.rpartition(title)[2]
        if shape(second, varies) == shape(entry.output, varies):
            break
    return second
