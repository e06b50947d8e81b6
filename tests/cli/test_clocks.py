"""A server whose clock is wrong answers all commands, and they say by how much it is wrong."""

import json
import re

import pytest

from tests.cli.conftest import Invoke
from tests.conftest import StartProgram
from tests.support.broker import Broker

SERVER = """
import sys, time

clock, ahead = time.time, float(sys.argv[3])
time.time = lambda: clock() + ahead

from gevent import monkey

monkey.patch_all()
from amphora import AmqpRpcFanoutServer, AmqpRpcServer

kind = AmqpRpcFanoutServer if sys.argv[4] == "fanout" else AmqpRpcServer
server = kind(sys.argv[2], broker_url=sys.argv[1])
server.add_function(max)
server.serve()
assert server.wait_connected(60)
print("ready")
server.wait_stopped()
"""


@pytest.mark.parametrize(("ahead", "direction"), [(7200, "ahead of"), (-7200, "behind")])
@pytest.mark.parametrize("kind", ["direct", "fanout"])
def test_a_server_whose_clock_is_wrong_is_seen_and_the_difference_is_told(
    ahead: int, direction: str, kind: str, invoke: Invoke, start_program: StartProgram, broker: Broker, service: str
) -> None:
    program = start_program("-c", SERVER, broker.url, service, ahead, kind)
    program.wait_for_line("ready", 60)
    fanout = ["--fanout"] if kind == "fanout" else []
    said = re.compile(rf"the clock of \S+:{program.pid} is (7[12]\d\d) s {direction} this machine's")

    for command in (["ping", "-c", "1", "-W", "30"], ["functions", "--timeout", "30"], ["health", "--timeout", "3"]):
        limit = [] if command[0] == "health" else ["--servers", "1"]
        result = invoke(command[0], service, *command[1:], *limit, *fanout)

        assert result.exit_code == 0, result.output
        assert said.search(result.stderr), result.output

    doctor = invoke("doctor", service, "--json", *fanout)
    found = [each["text"] for each in json.loads(doctor.stdout) if each["check"] in ("clock", "servers")]
    assert "1 answers, Amphora" in found[0]
    assert re.search(rf"is 7[12]\d\d s {direction} this machine's", found[1])
