"""Child processes of the test suite: what they write is seen, and none is left behind."""

import signal

import psutil
import pytest

from tests.support.eventually import wait_until
from tests.support.processes import Program

WAITS = "import time; print('ready'); time.sleep(60)"


def test_lines_are_waited_for_in_order_and_once_for_each_pattern(start_program):
    program = start_program("-c", "print('a 1'); print('b'); print('a 2')")

    assert program.wait_for_line(r"a (\d)").group(1) == "1"
    assert program.wait_for_line(r"a (\d)").group(1) == "2"
    assert program.wait_for_line("b")
    assert program.wait() == 0
    assert program.lines == ["a 1", "b", "a 2"]


def test_errors_are_output_too_and_the_exit_code_is_kept(start_program):
    program = start_program("-c", "import sys; sys.exit('went wrong')")

    program.wait_for_line("went wrong")

    assert program.wait() == 1


def test_waiting_for_a_line_fails_when_the_program_ends_without_it(start_program):
    program = start_program("-c", "print('something else')")

    with pytest.raises(AssertionError, match="something else"):
        program.wait_for_line("never", timeout=20)


def test_waiting_for_a_line_fails_after_its_timeout(start_program):
    program = start_program("-c", WAITS)

    with pytest.raises(AssertionError, match=r"within 0\.1 s"):
        program.wait_for_line("never", timeout=0.1)


def test_environment_variables_reach_the_program(start_program):
    program = start_program("-c", "import os; print(os.environ['GREETING'])", env={"GREETING": "hello"})

    program.wait_for_line("hello")


@pytest.mark.parametrize(("end", "code"), [(Program.kill, -signal.SIGKILL), (Program.terminate, -signal.SIGTERM)])
def test_a_program_can_be_ended(start_program, end, code):
    program = start_program("-c", WAITS)
    program.wait_for_line("ready")

    end(program)

    assert program.returncode == code


def test_a_paused_program_does_nothing_until_it_is_resumed(start_program):
    program = start_program("-c", "import time\nwhile True: print('tick'); time.sleep(0.01)")
    program.wait_for_line("tick")

    program.pause()
    wait_until(lambda: psutil.Process(program.pid).status() == psutil.STATUS_STOPPED)
    program.resume()

    seen = len(program.lines)
    wait_until(lambda: len(program.lines) > seen)


def test_a_paused_program_can_be_killed(start_program):
    program = start_program("-c", WAITS)
    program.pause()

    program.kill()

    assert not program.running


def test_children_of_a_killed_program_die_with_it(start_program):
    source = "import subprocess, time; print(subprocess.Popen(['sleep', '60']).pid); time.sleep(60)"
    program = start_program("-c", source)
    child = int(program.wait_for_line(r"^(\d+)$").group(1))

    program.kill()

    wait_until(lambda: not _lives(child))


def test_a_program_dies_with_the_process_that_started_it(start_program):
    source = (
        "from tests.support.processes import Program\n"
        f"program = Program('-c', {WAITS!r})\n"
        "program.wait_for_line('ready')\n"
        "print('child', program.pid)\n"
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    parent = start_program("-c", source)
    child = int(parent.wait_for_line(r"child (\d+)").group(1))

    parent.wait()

    wait_until(lambda: not _lives(child))


def _lives(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
