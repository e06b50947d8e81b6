"""`amphora serve --metrics-port`: what probes and Prometheus get."""

import re
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from port_for import get_port

from amphora import AmqpRpcClient, AmqpRpcServer
from amphora.cli import probe_server
from amphora.cli.commands.serve import command as serve_command
from amphora.cli.exit_codes import BadArguments
from amphora.cli.probes import Probes
from tests.cli.conftest import Invoke
from tests.support.broker import Broker
from tests.support.eventually import wait_until
from tests.support.processes import Program


def free_ports(count: int) -> int:
    """Return the first of some free ports in a row."""
    while True:
        port = get_port((20_000, 30_000))
        assert port is not None
        if not any(is_taken(port + number) for number in range(count)):
            return port


def is_taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def get(port: int, path: str) -> tuple[int, str]:
    """Return the status and the text of a page."""
    try:
        with urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


@pytest.fixture
def server(service: str) -> Iterator[AmqpRpcServer]:
    server = AmqpRpcServer(service, broker_url="memory://")
    yield server
    server.stop()


def test_a_server_is_alive_before_it_is_ready_and_ready_when_it_consumes(server: AmqpRpcServer):
    port = free_ports(1)
    probes = Probes([server], "127.0.0.1", port)
    probes.start()

    assert get(port, "/live") == (200, "alive\n")
    status, text = get(port, "/ready")
    assert (status, text.partition(";")[0]) == (
        503,
        f"{server.service_name}: not ready: not connected, not consuming",
    )

    server.serve()
    assert server.wait_connected(60)

    wait_until(lambda: get(port, "/ready")[0] == 200, 60)
    assert get(port, "/other") == (404, "there are /live, /ready, /metrics\n")
    probes.stop()


def test_a_port_that_is_taken_is_said_to_be(server: AmqpRpcServer):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]

        with pytest.raises(
            BadArguments, match=rf"--metrics-port: cannot listen at 127\.0\.0\.1:{port}: Address already"
        ):
            Probes([server], "127.0.0.1", port).start()


def test_every_process_answers_at_a_port_of_its_own(serve: Callable[..., Program], broker: Broker, service: str):
    port = free_ports(2)

    program = serve("--processes", 2, "--metrics-port", port, "--metrics-host", "127.0.0.1", processes=2)

    for number in range(2):
        wait_until(lambda number=number: get(port + number, "/ready")[0] == 200, 60)
    with AmqpRpcClient(service, broker_url=broker.url, timeout=60) as client:
        assert [client.call.add(number) for number in range(4)] == [1, 2, 3, 4]
    counted = re.compile(
        rf'^amphora_server_requests_total{{function="add",outcome="ok",service="{service}"}} (\S+)$', re.MULTILINE
    )
    pages = [get(port + number, "/metrics")[1] for number in range(2)]
    assert sum(float(count) for page in pages for count in counted.findall(page)) == 4
    assert program.terminate(60) == 0


def test_there_must_be_ports_for_all_processes(invoke: Invoke):
    result = invoke("serve", "shop", "--processes", "2", "--metrics-port", "65535")

    assert result.exit_code == 2
    assert "2 processes need as many ports" in result.stderr


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def probes(server: AmqpRpcServer) -> Iterator[Probes]:
    probes = Probes([server], "127.0.0.1", 0)
    probes.start()
    yield probes
    probes.stop()


def test_the_port_is_open_to_this_machine_only_unless_asked_for():
    assert serve_command.make_context("serve", ["shop", "--metrics-port", "9100"]).params["metrics_host"] == "127.0.0.1"


def test_half_requests_neither_exhaust_files_nor_keep_probes_out(probes: Probes):
    before = open_files()
    halves = []
    for _ in range(300):
        half = socket.create_connection(("127.0.0.1", probes.port))
        half.sendall(b"GET /live HTTP/1.1\r\nX: ")
        halves.append(half)

    assert get(probes.port, "/live") == (200, "alive\n")
    # Ours, and those of the server.
    assert open_files() - before - len(halves) <= 40
    for half in halves:
        half.close()


def test_a_request_that_never_ends_is_given_up(probes: Probes, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(probe_server, "_SECONDS", 0.2)
    for start in (b"", b"GET /live HTTP/1.1\r\nHost: x", b"POST /live HTTP/1.1\r\nContent-Length: 9\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", probes.port), 60) as line:
            line.sendall(start)
            while line.recv(4096):
                pass


def test_a_request_that_is_too_long_is_refused_at_its_limit(probes: Probes):
    with socket.create_connection(("127.0.0.1", probes.port), 60) as line, suppress(ConnectionError):
        line.sendall(b"GET /live HTTP/1.1\r\n")
        for _ in range(10_000):
            line.sendall(b"X-Header: " + b"x" * 4000 + b"\r\n")
        pytest.fail("40 MB of headers were read")


def test_a_client_that_asks_twice_gets_two_connections(probes: Probes):
    with socket.create_connection(("127.0.0.1", probes.port), 60) as line:
        line.sendall(b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n" * 2)
        answer = b""
        while part := line.recv(4096):
            answer += part

    assert answer.count(b"HTTP/1.1 200 OK") == 1
