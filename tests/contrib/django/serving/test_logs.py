"""What a server's log says of its requests, and where it goes."""

import io
import logging

import pytest

from amphora import IgnoreRequest, RemoteException
from amphora.contrib.django.console_log import log_to_console
from amphora.contrib.django.request_log import log_request, logger

REQUESTS = logger.name


@pytest.fixture
def amphora_log():
    """The logger "amphora", left as it was."""
    tree = logging.getLogger("amphora")
    handlers, level = list(tree.handlers), tree.level
    yield tree
    tree.handlers[:] = handlers
    tree.setLevel(level)


@pytest.mark.expects_errors("KeyError")
def test_a_request_that_fails_is_logged_with_its_traceback_and_without_its_arguments(start_service, caplog):
    service = start_service()
    service.server.add_function(lambda _: {}["no such key"], name="fail")
    service.server.add_function(lambda secret: secret, name="work")
    caplog.set_level(logging.INFO, REQUESTS)

    with service.server:
        service.client.call.work("hush")
        with pytest.raises(RemoteException):
            service.client.call.fail("hush")

    records = [record for record in caplog.records if record.name == REQUESTS]
    assert [record.levelname for record in records] == ["INFO", "ERROR"]
    assert records[0].getMessage().startswith("work: ")
    assert records[1].getMessage().startswith("fail: KeyError")
    assert records[1].exc_info is not None
    assert "hush" not in caplog.text


def test_a_request_that_is_ignored_is_no_failure(caplog, make_request):
    caplog.set_level(logging.INFO, REQUESTS)

    def ignore():
        raise IgnoreRequest

    with pytest.raises(IgnoreRequest):
        log_request(make_request("f"), ignore)

    assert [(record.levelname, record.exc_info) for record in caplog.records] == [("INFO", None)]


@pytest.mark.parametrize(("verbosity", "shown"), [(0, ["WARNING"]), (1, ["WARNING", "INFO"]), (3, ["WARNING", "INFO"])])
def test_without_a_handler_of_the_project_s_the_log_goes_to_the_console(amphora_log, monkeypatch, verbosity, shown):
    console = io.StringIO()
    monkeypatch.setattr("sys.stderr", console)
    # There are some: those of pytest.
    monkeypatch.setattr(amphora_log, "hasHandlers", lambda: False)

    log_to_console(verbosity)
    amphora_log.warning("lost")
    amphora_log.info("connected")

    assert [line.split()[2] for line in console.getvalue().splitlines()] == shown


def test_a_project_s_own_handlers_are_left_alone(amphora_log):
    amphora_log.addHandler(logging.NullHandler())
    before = list(amphora_log.handlers)

    log_to_console(1)

    assert amphora_log.handlers == before
