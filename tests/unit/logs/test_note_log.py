import logging
import subprocess
import sys
import time
from contextvars import ContextVar

import gevent
import pytest
from gevent import get_hub
from gevent.event import Event

from amphora.logs import note_log
from amphora.logs.note_log import NoteLogger, flush_notes

NAME = "amphora.tests.notes"


class Collected(logging.Handler):
    def __init__(self):
        super().__init__()
        self.records = []

    def emit(self, record):
        self.records.append(record)

    @property
    def texts(self):
        return [record.getMessage() for record in self.records]


@pytest.fixture
def collected():
    handler, logger = Collected(), logging.getLogger(NAME)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    yield handler
    logger.removeHandler(handler)
    logger.propagate = True
    logger.setLevel(logging.NOTSET)


@pytest.fixture
def logger(collected):
    return NoteLogger(NAME)


def test_a_record_is_emitted_after_the_call_and_not_in_it(logger, collected):
    logger.warning("%s of %d", "one", 2)

    assert collected.records == []
    assert flush_notes(5)
    assert collected.texts == ["one of 2"]


def test_a_record_has_the_time_the_place_and_the_extra_attributes_of_its_call(logger, collected):
    before = time.time()
    logger.error("text", extra={"request_id": "r1"})
    after = time.time()
    gevent.sleep(0.05)
    flush_notes(5)

    (record,) = collected.records
    assert before <= record.created <= after
    assert (record.funcName, record.pathname) == (
        "test_a_record_has_the_time_the_place_and_the_extra_attributes_of_its_call",
        __file__,
    )
    assert record.request_id == "r1"
    assert (record.levelno, record.name) == (logging.ERROR, NAME)


def test_a_record_is_emitted_in_the_context_of_its_call(logger, collected):
    variable = ContextVar("variable", default="outside")
    seen = []
    collected.addFilter(lambda _: seen.append(variable.get()) or True)

    token = variable.set("inside")
    logger.info("text")
    variable.reset(token)
    flush_notes(5)

    assert seen == ["inside"]


def test_an_exception_is_logged_as_it_was_at_the_call(logger, collected):
    try:
        raise ValueError("lost")
    except ValueError:
        logger.exception("trouble")
    flush_notes(5)

    assert collected.records[0].exc_info[1].args == ("lost",)


def test_what_the_level_leaves_out_is_not_queued(logger, collected):
    logger.debug("nothing")

    assert flush_notes(0)
    assert not logger.isEnabledFor(logging.DEBUG)
    assert logger.isEnabledFor(logging.INFO)
    assert collected.records == []


def test_logging_can_be_switched_off_for_the_whole_process(logger, collected):
    logging.disable(logging.WARNING)
    try:
        logger.warning("left out")
        logger.error("logged")
        flush_notes(5)
    finally:
        logging.disable(logging.NOTSET)

    assert collected.texts == ["logged"]


def test_the_event_loop_itself_can_log_through_a_handler_that_waits(logger, collected):
    go_on = Event()
    collected.addFilter(lambda _: go_on.wait(5))

    def in_the_hub():
        logger.warning("from the hub")

    get_hub().loop.run_callback(in_the_hub)
    gevent.sleep(0.01)
    assert collected.records == []
    go_on.set()
    flush_notes(5)
    assert collected.texts == ["from the hub"]


def test_a_handler_that_raises_costs_its_own_record_alone(logger, collected, capsys):
    def fail_once(record):
        collected.filters.clear()
        raise RuntimeError("handler")

    collected.addFilter(fail_once)
    logger.warning("first")
    logger.warning("second")
    flush_notes(5)

    assert collected.texts == ["second"]
    assert "RuntimeError: handler" in capsys.readouterr().err


def test_a_handler_that_logs_does_not_wait_for_itself(logger, collected):
    def log_more(record):
        if record.getMessage() == "first":
            logger.warning("second")
            assert not flush_notes(5)
        return True

    collected.addFilter(log_more)
    logger.warning("first")
    flush_notes(5)

    assert collected.texts == ["first", "second"]


def test_a_killed_emitter_is_replaced(logger, collected):
    def die(record):
        collected.filters.clear()
        raise gevent.GreenletExit

    collected.addFilter(die)
    logger.warning("first")
    logger.warning("second")
    flush_notes(5)

    assert collected.texts == ["second"]


def test_more_records_than_handlers_can_take_are_counted(logger, collected, caplog):
    for number in range(note_log._MOST + 7):
        logger.warning("%d", number)
    flush_notes(5)

    assert len(collected.records) == note_log._MOST
    assert "7 log records were left out" in caplog.text


def test_a_repeated_text_is_logged_once_a_minute_with_the_number_left_out(logger, collected, monkeypatch):
    now = 1000.0
    monkeypatch.setattr(note_log.time, "monotonic", lambda: now)
    for _ in range(3):
        logger.warning("%s is full", "q1", once=("full", "q1"))
    logger.warning("%s is full", "q2", once=("full", "q2"))
    now += 60
    logger.warning("%s is full", "q1", once=("full", "q1"))
    monkeypatch.undo()
    flush_notes(5)

    assert collected.texts == [
        "q1 is full",
        "q2 is full",
        "q1 is full (and 2 more of these since the last one)",
    ]


PROGRAM = """
import logging, sys, threading, time
{patch}
from amphora.logs.note_log import NoteLogger, flush_notes

class Slow(logging.StreamHandler):
    def emit(self, record):
        time.sleep(0.2)
        super().emit(record)

logging.basicConfig(handlers=[Slow(sys.stdout)], format="%(threadName)s %(message)s", level="INFO")
logger = NoteLogger("amphora.program")
began = time.monotonic()
for number in range(3):
    logger.info("record %d", number)
print("took less than a handler:", time.monotonic() - began < 0.2, flush=True)
{rest}
"""


@pytest.mark.parametrize("patch", ["", "from gevent import monkey; monkey.patch_all()"], ids=["unpatched", "patched"])
def test_what_is_left_is_emitted_when_the_program_ends(patch):
    assert run(PROGRAM.format(patch=patch, rest="")) == [
        "took less than a handler: True",
        "MainThread record 0",
        "MainThread record 1",
        "MainThread record 2",
    ]


@pytest.mark.parametrize("patch", ["", "from gevent import monkey; monkey.patch_all()"], ids=["unpatched", "patched"])
def test_a_forked_child_leaves_its_parents_records_alone_and_logs_its_own(patch):
    rest = """
import os
pid = os.fork()
if pid == 0:
    logger.info("child")
    flush_notes(5)
    os._exit(0)
os.waitpid(pid, 0)
flush_notes(5)
"""
    lines = run(PROGRAM.format(patch=patch, rest=rest))

    assert sorted(lines) == [
        "MainThread child",
        "MainThread record 0",
        "MainThread record 1",
        "MainThread record 2",
        "took less than a handler: True",
    ]


def test_a_forked_child_logs_though_a_handler_waits_for_what_it_has_not_inherited():
    program = """
from gevent import monkey
monkey.patch_all()
import logging, os, time
import gevent
from amphora.logs.note_log import NoteLogger, flush_notes

class Slow(logging.Handler):
    def emit(self, record):
        if record.getMessage() == "parent":
            gevent.get_hub().threadpool.apply(time.sleep, (0.2,))
        os.write(1, f"{record.getMessage()}\\n".encode())

logging.getLogger().addHandler(Slow())
logger = NoteLogger("test")
logger.warning("parent")
gevent.sleep(0.05)
pid = os.fork()
if pid == 0:
    logger.warning("child")
    os._exit(0 if flush_notes(5) else 1)
status = os.waitpid(pid, 0)[1]
flush_notes(5)
os.write(1, f"status {status}\\n".encode())
"""
    assert sorted(run(program)) == ["child", "parent", "status 0"]


def test_records_are_emitted_though_the_greenlet_for_them_was_killed_before_it_began(collected):
    logger = NoteLogger(NAME)
    logger.warning("first")
    note_log._emitter()._greenlet.kill()

    logger.warning("second")

    assert flush_notes(5)
    assert collected.texts == ["first", "second"]


def run(source):
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    return done.stdout.splitlines()
