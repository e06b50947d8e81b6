"""Clients after a fork: the parent's goes on, and each child makes its own."""

from pathlib import Path

from tests.conftest import StartProgram
from tests.contrib.django.conftest import environment_of_project
from tests.support.broker import Broker

PROGRAM = Path(__file__).with_name("forking_site.py")


def test_each_worker_of_a_pre_fork_server_makes_its_own_client(
    start_program: StartProgram, broker: Broker, service: str
) -> None:
    program = start_program(PROGRAM, env=environment_of_project(SHOP_BROKER_URL=broker.url, SHOP_SUFFIX=service))

    assert program.wait(timeout=90) == 0
    parent = program.wait_for_line(r"parent had client (.+)")[1]
    workers = {program.wait_for_line(rf"worker {number} had client (.+)")[1] for number in (1, 2, 3)}
    assert len(workers | {parent}) == 4
    assert f"workers [0, 0, 0], parent still had client {parent}" in program.lines
    assert "reconnects 0" in program.lines
