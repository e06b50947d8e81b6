"""What idling and working leave behind: nothing."""

import gc
from collections import Counter
from itertools import count

import gevent
import psutil

from tests.acceptance.conftest import NewClient, NewServer
from tests.conftest import StartProgram
from tests.support.broker import Broker
from tests.support.eventually import wait_until

IDLE = """
from gevent import monkey; monkey.patch_all()
import sys, gevent
from amphora import AmqpRpcClient, AmqpRpcServer

server = AmqpRpcServer(sys.argv[2], broker_url=sys.argv[1])
server.add_function(abs)
server.serve()
client = AmqpRpcClient(sys.argv[2], broker_url=sys.argv[1])
assert client.call.abs(-1) == 1
print("idle", flush=True)
gevent.sleep(60)
"""

#: Classes whose instances stand for a call on its way.
HELD = {"PendingCall", "OutgoingMessage", "IncomingMessage", "ServedRequest", "AsyncResult"}


def test_an_idle_client_and_server_do_nothing(broker: Broker, service: str, start_program: StartProgram) -> None:
    program = start_program("-c", IDLE, broker.url, service)
    program.wait_for_line("idle")
    process = psutil.Process(program.pid)
    switches, cpu = process.num_ctx_switches().voluntary, sum(process.cpu_times()[:2])

    gevent.sleep(4)  # What is tested is that nothing happens meanwhile.

    # The watch over the loop's lag wakes up five times a second, and a kernel may count two switches for each time. A
    # loop that is busy ten times a second besides would wake up another 40 to 80 times.
    assert process.num_ctx_switches().voluntary - switches < 60
    assert sum(process.cpu_times()[:2]) - cpu < 0.2


def test_many_calls_leave_nothing_behind(broker: Broker, new_client: NewClient, new_server: NewServer) -> None:
    new_server(broker.url, abs, remember_count=100)
    client = new_client(broker.url)

    def call(times: int) -> None:
        numbers = count(1)

        def again_and_again() -> None:
            while (number := next(numbers)) <= times:
                assert client.call.abs(-number) == number

        gevent.joinall([gevent.spawn(again_and_again) for _ in range(100)], raise_error=True)

    call(2_000)
    # Kept by reference: what earlier tests left to expire can neither pass for ours, nor hide ours by going away.
    old = held()
    before = len(gc.get_objects())
    call(20_000)

    # The last acknowledgements are on their way.
    wait_until(lambda: new_since(old).total() < 100, message="calls are let go of")
    assert len(gc.get_objects()) - before < 1000


def held() -> list[object]:
    """Return the objects there are that stand for calls on their way."""
    gc.collect()
    return [each for each in gc.get_objects() if type(each).__name__ in HELD]


def new_since(old: list[object]) -> Counter[str]:
    """Count the objects that stand for calls on their way and were not there before, by their class."""
    known = {id(each) for each in old}
    return Counter(type(each).__name__ for each in held() if id(each) not in known)
