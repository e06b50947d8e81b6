"""Errors of functions are kept for the admin, and keeping them is no trouble for the functions."""

import os
import socket
from uuid import uuid4

import gevent
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.test import override_settings
from django.utils import timezone
from gevent import monkey

from amphora import CurrentRequest, IgnoreRequest, RemoteException
from amphora.contrib.django import client, server
from amphora.contrib.django.discovery import discover
from amphora.contrib.django.models import FailedCall
from amphora.contrib.django.recording import ErrorRecorder
from tests.support.eventually import wait_until

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture(scope="module", autouse=True)
def _handlers():
    """Import the handlers while all aliases that they are for are there."""
    discover()


@pytest.fixture(autouse=True)
def _no_failed_calls(database):
    failed_calls().delete()


#: No other test's: a function of theirs may still run, and fail.
SERVICE = f"recording_{uuid4().hex[:8]}"


def failed_calls(service=SERVICE):
    return FailedCall.objects.filter(service=service).order_by("id")


def new_recorder(keep=10, service=SERVICE, **options):
    return ErrorRecorder("default", service, "uuid-1", keep, **options)


def fail_with(recorder, error, function="f", request_id="request-1"):
    """Let a function raise an error to the recorder, and check that its caller still gets it."""
    request = CurrentRequest(request_id, None, function, None, False, {})

    def call():
        raise error

    with pytest.raises(type(error)):
        recorder(request, call)


def told(caplog):
    """What the recorders have logged."""
    return [record.getMessage() for record in caplog.records if SERVICE in record.getMessage()]


def kept(field):
    return list(failed_calls().values_list(field, flat=True))


def test_an_error_is_kept_with_all_that_finds_it():
    recorder = new_recorder()
    before = timezone.now()

    fail_with(recorder, ValueError("none left"), function="orders.take")
    assert recorder.flush(30)

    call = failed_calls().get()
    assert (call.alias, call.service, call.function) == ("default", SERVICE, "orders.take")
    assert (call.error_type, call.message, call.request_id) == ("ValueError", "none left", "request-1")
    assert (call.server_host, call.server_pid, call.server_uuid) == (socket.gethostname(), os.getpid(), "uuid-1")
    assert before <= call.time <= timezone.now()
    assert "raise error\nValueError: none left" in call.traceback
    assert "django/recording.py" not in call.traceback
    assert str(call) == "orders.take: ValueError"


def test_a_function_that_returns_or_ignores_is_none():
    recorder = new_recorder()

    assert recorder(CurrentRequest("1", None, "f", None, False, {}), lambda: 5) == 5
    for no_error in (IgnoreRequest(), gevent.GreenletExit()):
        fail_with(recorder, no_error)
    assert recorder.flush(30)

    assert (recorder.recorded, recorder.dropped) == (0, 0)
    assert kept("id") == []


def test_a_timeout_that_is_no_exception_is_kept_too():
    recorder = new_recorder()

    fail_with(recorder, gevent.Timeout(5))
    assert recorder.flush(30)

    assert kept("error_type") == ["Timeout"]


def test_the_last_errors_of_each_service_are_kept():
    first, other = new_recorder(keep=3), new_recorder(keep=3, service=f"{SERVICE}_other")

    fail_with(other, KeyError("of the other"))
    for number in range(8):
        fail_with(first, ValueError(number))
        if number == 4:
            assert first.flush(30)
    assert first.flush(30)
    assert other.flush(30)

    assert kept("message") == ["5", "6", "7"]
    assert failed_calls(f"{SERVICE}_other").count() == 1
    assert first.recorded == 8


def test_texts_that_databases_refuse_are_kept_as_far_as_possible():
    recorder = new_recorder()

    fail_with(recorder, ValueError("a\0b\ud800" + "x" * 20_000), function="f" * 300, request_id=None)
    assert recorder.flush(30)

    call = failed_calls().get()
    assert call.message.startswith("a\N{REPLACEMENT CHARACTER}b?xxx")
    assert (len(call.message), len(call.function), call.request_id) == (10_000, 255, "")


def test_an_error_that_cannot_even_be_described_reaches_its_caller(caplog):
    class Unspeakable(Exception):
        def __str__(self):
            raise RuntimeError("no words")

    recorder = new_recorder()

    fail_with(recorder, Unspeakable())

    assert recorder.dropped == 1
    assert "Unspeakable cannot be described: RuntimeError" in caplog.text


def test_functions_do_not_wait_for_a_slow_database_and_what_is_too_much_is_counted(caplog, monkeypatch):
    # A lock of the operating system's threads: the writing is in one.
    gate = monkey.get_original("_thread", "allocate_lock")()
    write = ErrorRecorder._write_to

    def write_behind_the_gate(*args):
        with gate:
            return write(*args)

    monkeypatch.setattr(ErrorRecorder, "_write_to", write_behind_the_gate)
    recorder = new_recorder(waiting=5)

    with gate:
        fail_with(recorder, ValueError("first"))
        wait_until(recorder._queue.empty, 30, "the writer has taken it, and waits for the database")
        for number in range(20):
            fail_with(recorder, ValueError(number))

        assert recorder.dropped == 15
        assert not recorder.flush(0)
    assert recorder.flush(30)

    assert kept("message") == ["first", "0", "1", "2", "3", "4"]
    (message,) = told(caplog)
    assert "an error of a function could not be kept" in message


def test_a_database_that_fails_is_logged_once_and_written_to_when_it_is_there_again(caplog, monkeypatch):
    recorder = new_recorder()

    def nowhere(model):
        raise ImproperlyConfigured("no database")

    with monkeypatch.context() as broken:
        broken.setattr("amphora.contrib.django.recording.router.db_for_write", nowhere)
        for _ in range(2):
            fail_with(recorder, ValueError("lost"))
            assert recorder.flush(30)
    fail_with(recorder, ValueError("kept"))
    assert recorder.flush(30)

    assert (recorder.recorded, recorder.dropped, kept("message")) == (1, 2, ["kept"])
    (message,) = told(caplog)
    assert "ImproperlyConfigured: no database" in message


def test_a_missing_table_is_named_with_its_remedy(caplog, tmp_path, monkeypatch):
    monkeypatch.setitem(connections.settings, "empty", {**connections.settings["default"], "NAME": tmp_path / "empty"})
    monkeypatch.setattr("amphora.contrib.django.recording.router.db_for_write", lambda _: "empty")
    recorder = new_recorder()

    fail_with(recorder, ValueError("lost"))
    assert recorder.flush(30)

    assert "no such table: amphora_failedcall; run `manage.py migrate`" in caplog.text


@pytest.mark.expects_errors("ValueError")
def test_a_server_keeps_errors_as_its_settings_say(broker, service):
    amphora = {"SERVICE_NAME": service, "BROKER_URL": broker.url, "RECORD_ERRORS": 1}

    with override_settings(AMPHORA={"default": amphora}), server:
        for text in ("first", "second"):
            with pytest.raises(RemoteException, match=text):
                client.call.orders.fail(text)

    # The server has stopped, and by then all is written.
    call = failed_calls(service).get()
    assert (call.service, call.function, call.message) == (service, "orders.fail", "second")
    # How Amphora came to call the function is left out.
    assert call.traceback.splitlines()[1].endswith("in fail")


@pytest.mark.parametrize("options", [{"RECORD_ERRORS": 0, "BROKER_URL": "amqp://"}, {"BROKER_URL": "memory://"}])
def test_a_server_keeps_no_errors_where_nobody_wants_them(options):
    with override_settings(AMPHORA={"default": {"SERVICE_NAME": "shop", **options}}):
        assert server.real.functions
        assert server._recorder is None
