"""The mistakes of the first hour, and what Amphora says about them."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from amphora import AmqpRpcClient, AmqpRpcFanoutServer, AmqpRpcServer, NoResult, TopologyConflict
from tests.support.processes import ROOT

# A port that nothing can listen on for long: reserved for TCP's own multiplexer, and root's.
NO_BROKER = "amqp://guest:a-secret-password@127.0.0.1:1//"


@pytest.fixture
def client() -> Iterator[AmqpRpcClient]:
    with AmqpRpcClient("mistakes", broker_url="memory://") as client:
        yield client


def test_a_program_without_monkey_patching_is_told_what_to_add() -> None:
    program = "import amphora; amphora.AmqpRpcClient('math')"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, cwd=ROOT)

    assert done.returncode == 1
    assert "from gevent import monkey; monkey.patch_all()" in done.stderr
    assert "very first line" in done.stderr


def test_a_call_without_a_broker_says_what_it_tried_and_keeps_the_password_to_itself() -> None:
    client = AmqpRpcClient("mistakes", broker_url=NO_BROKER, timeout=2)

    with client, pytest.raises(NoResult) as caught:
        client.call.add(1, 2)

    assert "127.0.0.1:1" in str(caught.value)
    assert "Connection refused" in str(caught.value)
    assert "a-secret-password" not in str(caught.value)


def test_a_tutorial_slip_of_01_names_both_ways_to_name_a_function(client: AmqpRpcClient) -> None:
    with pytest.raises(TypeError, match=r"client\.defer\.name\(\.\.\.\).*function_name='name'"):
        client.defer("http://example.com")


def test_a_misspelt_option_is_guessed(client: AmqpRpcClient) -> None:
    with pytest.raises(TypeError, match="unknown option 'timout'; did you mean 'timeout'"):
        client.call(timout=5)


def test_name_and_function_in_the_wrong_order_are_not_taken_for_a_decorator() -> None:
    server = AmqpRpcServer("mistakes", broker_url="memory://")

    with pytest.raises(TypeError, match="takes the function first"):
        server.add_function("add", sum)  # type: ignore[call-overload]


@pytest.mark.expects_errors("cannot share one name")
def test_a_fanout_service_under_the_name_of_a_direct_one_is_refused_on_the_memory_broker_too(
    client: AmqpRpcClient,
) -> None:
    assert client.wait_connected(timeout=10)
    server = AmqpRpcFanoutServer("mistakes", broker_url="memory://")

    with pytest.raises(TopologyConflict, match="cannot share one name"):
        server.serve(nowait=False)
