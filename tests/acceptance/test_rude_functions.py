"""Functions that misbehave, and an operator who presses Ctrl-C."""

import signal

import gevent
import pytest

from amphora import RemoteException
from tests.acceptance.conftest import NewClient, NewServer, StartServer
from tests.acceptance.connections import connections_of
from tests.conftest import StartProgram
from tests.support.broker import Broker
from tests.support.eventually import wait_until

SCRIPT = """
from gevent import monkey; monkey.patch_all()
import sys, time
from amphora import AmqpRpcServer

server = AmqpRpcServer(sys.argv[2], broker_url=sys.argv[1])

@server.add_function
def work():
    print("at work", flush=True)
    time.sleep(60)

server.serve()
server.wait_connected()
print("ready", flush=True)
server.serve(nowait=False)
"""

INTERRUPTING = SCRIPT.replace('    print("at work", flush=True)\n    time.sleep(60)', "    pass").replace(
    "server.serve()\n",
    """@server.add_function
def interrupt():
    raise KeyboardInterrupt

server.serve()
""",
    1,
)


def test_a_function_that_burns_the_processor_for_more_than_a_heartbeat_keeps_its_connections(
    broker: Broker, service: str, new_client: NewClient, start_server: StartServer
) -> None:
    start_server(broker.url, heartbeat=2)
    client = new_client(broker.url)
    assert client.wait_connected(10)
    before = connections_of(broker, f"{service} server").keys()

    assert client.call.burn(3) == 3

    assert client.call.work(1) == 1
    assert connections_of(broker, f"{service} server").keys() == before
    assert len(before) == 2


@pytest.mark.parametrize(
    "error", [gevent.Timeout(1), SystemExit(3), gevent.GreenletExit(), KeyError("x"), StopIteration(), GeneratorExit()]
)
def test_whatever_a_function_raises_the_caller_gets_and_the_server_goes_on(
    broker: Broker, new_client: NewClient, new_server: NewServer, error: BaseException
) -> None:
    def fail() -> None:
        raise error

    new_server(broker.url, fail, abs, concurrency=1)
    client = new_client(broker.url)

    with pytest.raises(RemoteException) as raised:
        client.call(timeout=5).fail()

    assert raised.value.error_type == type(error).__name__
    assert client.call(timeout=5).abs(-1) == 1


def test_a_timeout_that_a_function_sets_ends_only_that_function(
    broker: Broker, new_client: NewClient, new_server: NewServer
) -> None:
    def nap() -> None:
        with gevent.Timeout(0.05):
            gevent.sleep(30)

    new_server(broker.url, nap, abs)
    client = new_client(broker.url)

    results = [client.defer(timeout=10).nap() for _ in range(20)]

    assert client.call.abs(-1) == 1
    for result in results:
        with pytest.raises(RemoteException, match="Timeout"):
            result.get()


def test_a_timeout_that_a_function_leaves_running_costs_no_later_request(
    broker: Broker, new_client: NewClient, new_server: NewServer
) -> None:
    fuse = gevent.Timeout(0.01)
    new_server(broker.url, fuse.start, abs, concurrency=1)
    client = new_client(broker.url)
    client.call.start()

    wait_until(lambda: not fuse.pending)

    assert [client.call(timeout=20).abs(-number) for number in range(3)] == [0, 1, 2]


def test_a_timeout_that_a_function_leaves_running_does_not_hit_the_request_after_it(
    broker: Broker, new_client: NewClient, new_server: NewServer
) -> None:
    def leave() -> None:
        gevent.Timeout(0.2).start()

    def nap() -> str:
        gevent.sleep(0.5)
        return "rested"

    new_server(broker.url, leave, nap, concurrency=1)
    client = new_client(broker.url)

    left = client.defer(timeout=20).leave()

    assert client.call(timeout=20).nap() == "rested"
    assert left.get() is None


@pytest.mark.expects_errors("\nKeyboardInterrupt")
def test_a_keyboard_interrupt_that_a_function_raises_is_its_error_and_no_server_ends(
    broker: Broker, service: str, new_client: NewClient, start_program: StartProgram
) -> None:
    program = start_program("-c", INTERRUPTING, broker.url, service)
    program.wait_for_line("ready")
    client = new_client(broker.url)

    for _ in range(3):
        with pytest.raises(RemoteException) as raised:
            client.call(timeout=20).interrupt()
        assert raised.value.error_type == "KeyboardInterrupt"

    program.send_signal(signal.SIGINT)
    assert program.wait(10) != 0


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
@pytest.mark.expects_errors("\nKeyboardInterrupt")
def test_ctrl_c_ends_a_server(
    broker: Broker, service: str, new_client: NewClient, start_program: StartProgram, busy: bool
) -> None:
    program = start_program("-c", SCRIPT, broker.url, service)
    program.wait_for_line("ready")
    if busy:
        client = new_client(broker.url)
        client.defer.work()
        program.wait_for_line("at work")

    program.send_signal(signal.SIGINT)

    assert program.wait(10) != 0
    assert "KeyboardInterrupt" in program.output
