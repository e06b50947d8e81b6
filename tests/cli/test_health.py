"""`amphora health`: probes over HTTP, and asking all servers over the broker."""

import json
import platform
import re
import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest
from click.testing import Result

import amphora.server.server
from amphora import AmqpRpcServer, Health
from amphora.cli import probe
from amphora.cli.probes import Probes
from tests.cli.conftest import Invoke, Shop
from tests.cli.test_probes import free_ports, get
from tests.conftest import StartProgram
from tests.support.broker import Broker
from tests.support.eventually import wait_until

READY = "orders: ready: connected, consuming; event loop lag "
NOT_READY = "orders: not ready: not connected, not consuming; event loop lag "


class Served:
    """A server with its probes, as a process of `amphora serve` has them."""

    def __init__(self) -> None:
        self.server = AmqpRpcServer("orders", broker_url="memory://")
        self._probes = Probes([self.server], "127.0.0.1", 0)
        self._probes.start()
        self.port = self._probes.port

    def make_ready(self) -> None:
        self.server.serve()
        wait_until(lambda: self.server.health().ready, 60)

    def close(self) -> None:
        self._probes.stop()
        self.server.stop()


@pytest.fixture
def served() -> Iterator[Served]:
    served = Served()
    yield served
    served.close()


# Over HTTP, in the quick way of probes and in that of the command; both say the same.


def probed(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int | None, str]:
    status = probe.probe([str(each) for each in arguments])
    return status, capsys.readouterr().out


def test_a_process_is_ready_when_its_servers_are(
    served: Served, invoke: Invoke, capsys: pytest.CaptureFixture[str]
) -> None:
    for status, text in (1, NOT_READY), (0, READY):
        quick_status, quick_text = probed(capsys, "--port", served.port, "--timeout", 60)
        result = invoke("health", "--port", served.port, "--timeout", 60)

        assert (quick_status, result.exit_code) == (status, status)
        assert quick_text.startswith(text)
        assert result.output.startswith(text)
        served.make_ready()


def test_a_process_is_alive_whether_it_is_ready_or_not(
    served: Served, invoke: Invoke, capsys: pytest.CaptureFixture[str]
) -> None:
    assert probed(capsys, f"--port={served.port}", "--live", "--timeout=60") == (0, "alive\n")
    assert invoke("health", "--port", served.port, "--live", "--timeout", 60).output == "alive\n"


def test_of_several_processes_all_must_be_ready_unless_it_is_said_how_many(
    served: Served, invoke: Invoke, capsys: pytest.CaptureFixture[str]
) -> None:
    served.make_ready()
    nobody = free_ports(1)
    both = ("--port", served.port, "--port", nobody, "--timeout", 60)

    status, text = probed(capsys, *both)
    one_is_enough, _ = probed(capsys, *both, "--servers", 1)
    result = invoke("health", *both, "--json")

    assert (status, one_is_enough, result.exit_code) == (1, 0, 1)
    first, second = text.splitlines()
    assert first.startswith(f"{served.port}: {READY}")
    assert second == f"{nobody}: no answer from 127.0.0.1:{nobody} (Connection refused)"
    answers = json.loads(result.output)
    assert [(each["port"], each["answered"]) for each in answers] == [(served.port, True), (nobody, False)]
    assert answers[0]["servers"][0]["service"] == "orders"
    assert (answers[0]["ready"], answers[0]["servers"][0]["consuming"]) == (True, True)


def test_who_hangs_does_not_answer(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as silent:
        # The kernel lets callers in, and nobody reads what they say.
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]

        assert probed(capsys, "--port", port, "--live", "--timeout", 0.2) == (
            1,
            f"no answer from 127.0.0.1:{port} (nothing within 0.2 s)\n",
        )


def test_processes_have_the_next_ports() -> None:
    assert probe.ports_of([9100, 9200], 3) == [9100, 9101, 9102, 9200, 9201, 9202]
    assert probe.ports_of([9100, 9101], 2) == [9100, 9101, 9102]


def test_who_was_late_is_not_ready_where_that_is_asked(
    served: Served, invoke: Invoke, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    served.make_ready()
    monkeypatch.setattr(served.server._loop_lag, "worst", lambda: 3.25)

    status, text = probed(capsys, "--port", served.port, "--max-lag", 2, "--timeout", 60)
    result = invoke("health", "--port", served.port, "--max-lag", 4, "--timeout", 60)

    assert (status, result.exit_code) == (1, 0)
    assert text == "orders: not ready: connected, consuming; event loop lag 3.250 s, more than 2 s\n"
    assert result.output == "orders: ready: connected, consuming; event loop lag 3.250 s\n"
    assert get(served.port, "/ready?max-lag=much") == (400, "/ready takes nothing but max-lag=SECONDS, more than 0\n")


def test_what_is_no_server_is_said_to_be_none(served: Served) -> None:
    (_, status, text) = probe.ask([served.port], host="127.0.0.1", page="/other", timeout=60)[0]

    assert (status, "HTTP 404 Not Found: is this the port of `amphora serve --metrics-port`?" in text) == (0, True)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["orders"],
        ["--port"],
        ["--port", "x"],
        ["--port", "0"],
        ["--port", "65535", "--processes", "2"],
        ["--port", "1", "--timeout", "nan"],
        ["--port", "1", "--live", "--max-lag", "1"],
        ["--port", "1", "--json"],
        ["--port", "1", "--help"],
    ],
)
def test_the_quick_way_leaves_everything_else_to_the_command(arguments: list[str]) -> None:
    assert probe.probe(arguments) is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "name either the service, or the --port"),
        (["orders", "--port", "9100"], "name either the service, or the --port"),
        (["--port", "0"], "0 is not in the range"),
        (["--port", "65535", "--processes", "2"], "2 processes need as many ports"),
        (["--port", "9100", "--here"], "--here goes with a service"),
        (["--port", "9100", "--live", "--max-lag", "1"], "--live does not go with --max-lag"),
        (["--port", "9100", "--live", "--ready"], "--live does not go with --ready"),
        (["orders", "--live"], "--live goes with --port"),
        (["orders", "--host", "web1"], "--host and --processes go with --port"),
        (["orders", "--timeout", "0"], "a number of seconds more than 0 is wanted"),
    ],
)
def test_wrong_arguments_are_said_to_be(invoke: Invoke, arguments: list[str], said: str) -> None:
    result = invoke("health", *arguments)

    assert result.exit_code == 2
    assert said in result.stderr


def test_a_probe_imports_next_to_nothing(served: Served, start_program: StartProgram) -> None:
    served.make_ready()
    heavy = "{'gevent', 'click', 'rich', 'kombu', 'ssl', 'http'}"
    shown = f"sorted({heavy} & {{*sys.modules}}), sorted(each for each in sys.modules if each.startswith('amphora'))"
    source = f"import sys\nfrom amphora.cli.entry import main\ntry: main()\nfinally: print({shown})"

    program = start_program("-c", source, "health", "--port", served.port, "--timeout", 60)

    assert program.wait(60) == 0
    assert program.lines[0].startswith(READY)
    assert program.lines[1:] == ["[] ['amphora', 'amphora.cli', 'amphora.cli.entry', 'amphora.cli.probe']"]


# Over the broker.


class Ailing(AmqpRpcServer):
    """A server that says that the broker delivers nothing to it, once it is `ailing`."""

    ailing = False

    def _health(self, loop_lag: float = 0.0) -> Health:
        return replace(super()._health(loop_lag), **{"consuming": False} if self.ailing else {})


@pytest.fixture
def second(shop: Shop, broker: Broker) -> Iterator[Ailing]:
    with Ailing(shop.server.service_name, broker_url=broker.url, delivery_limit=2) as server:
        assert server.wait_connected(60)
        yield server


def saying(text: str, result: Result) -> Result | None:
    """Return the result where it says this: a server may take longer to answer than it was waited for."""
    return result if text in result.stderr else None


def rows(output: str) -> list[list[str]]:
    return sorted(line.split()[1:-1] for line in output.splitlines()[1:])


def test_every_server_says_how_it_is(shop: Shop, second: Ailing, invoke: Invoke) -> None:
    ask = ("health", shop.server.service_name, "--timeout")
    wait_until(lambda: invoke(*ask, 30, "--servers", 2).exit_code == 0, 60)

    result = invoke(*ask, 30, "--servers", 2, "--here")
    assert re.match(r"SERVER +STATE +CONNECTED +CONSUMING +BLOCKED +LAG ms\n", result.stdout)
    assert rows(result.stdout) == [["ready", "yes", "yes", "no"]] * 2

    second.ailing = True
    result = wait_until(lambda: saying("1 of 2 servers ready", invoke(*ask, 2)), 60)
    assert result.exit_code == 1
    assert rows(result.stdout) == [["not", "ready", "yes", "no", "no"], ["ready", "yes", "yes", "no"]]

    result = invoke(*ask, 30, "--servers", 1, "--json")
    assert result.exit_code == 0
    assert {each["host"] for each in json.loads(result.stdout)} == {platform.node()}
    wait_until(lambda: saying("1 of at least 2 servers ready", invoke(*ask, 1, "--servers", 2)), 60)


def test_a_server_that_does_not_know_the_question_is_shown_as_unknown(
    shop: Shop, broker: Broker, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    today = amphora.server.server.introspection_of

    def of_old(**options):
        return {name: each for name, each in today(**options).items() if name != "amphora.health"}

    monkeypatch.setattr(amphora.server.server, "introspection_of", of_old)
    with AmqpRpcServer(shop.server.service_name, broker_url=broker.url, delivery_limit=2) as old:
        assert old.wait_connected(60)
        result = wait_until(
            lambda: saying("1 of 2 servers ready", invoke("health", old.service_name, "--timeout", 3)), 60
        )

    assert result.exit_code == 1
    assert f"unknown (Amphora {amphora.__version__})" in result.stdout
    assert invoke("health", old.service_name, "--timeout", 30, "--servers", 1).exit_code == 0


def test_where_no_server_answers_that_is_said(shop: Shop, invoke: Invoke) -> None:
    shop.server.stop()

    result = invoke("health", shop.server.service_name, "--timeout", 0.5)

    assert result.exit_code == 3
    assert f"no server of service '{shop.server.service_name}' has answered within 0.5 s" in result.stderr
