"""A pytest plug-in that fails a test in which something was logged at ERROR, or died, that the test does not expect.

A server or a client that recovers hides its faults: "unexpected error, connecting anew" in the log is all that is left
of them. So each record at ERROR or above, each greenlet and each thread that ends with an exception, and each traceback
and ERROR of a child program fails the test during which it appears, unless one of the patterns of its mark is found in
it::

    @pytest.mark.expects_errors("refuses access", "no connection")

What the greenlets and threads that a test starts itself end with is for the test to see.
"""

import logging
import re
import threading
import traceback
from collections.abc import Generator
from functools import partial
from typing import Any

import gevent
import pytest
from gevent.hub import Hub

from amphora.logs.note_log import flush_notes
from tests.support.wrongs import seen


class _Watch(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        text = f"{record.levelname} {record.name}: {record.getMessage()}"
        if record.exc_info:
            text += "\n" + "".join(traceback.format_exception(*record.exc_info)).rstrip()
        seen.append(text)


_watch = _Watch(logging.ERROR)
_handle_error = Hub.handle_error
_excepthook = threading.excepthook


def _on_greenlet(hub: Hub, context: Any, kind: Any, value: Any, trace: Any) -> Any:
    if not issubclass(kind, hub.NOT_ERROR + hub.SYSTEM_ERROR) and not _is_of_a_test(context):
        seen.append(f"{context!r} died\n" + "".join(traceback.format_exception(kind, value, trace)).rstrip())
    return _handle_error(hub, context, kind, value, trace)


def _on_thread(arguments: Any) -> Any:
    if not _is_of_a_test(arguments.thread):
        died = traceback.format_exception(arguments.exc_type, arguments.exc_value, arguments.exc_traceback)
        seen.append(f"{arguments.thread!r} died\n" + "".join(died).rstrip())
    return _excepthook(arguments)


def _is_of_a_test(context: Any) -> bool:
    """Return whether a test has started a greenlet or a thread itself: what that ends with is for the test to see."""
    if isinstance(context, gevent.Greenlet):
        frame = context.spawning_stack
        while frame is not None and "/gevent/" in frame.f_code.co_filename:
            frame = frame.f_back
        return frame is not None and "/tests/" in frame.f_code.co_filename
    function = getattr(context, "_target", None)
    if isinstance(function, partial):
        function = function.func
    return str(getattr(function, "__module__", "")).startswith("tests.")


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Begin to watch; after pytest, whose own hook makes warnings of threads that died."""
    global _excepthook
    _excepthook = threading.excepthook
    setattr(Hub, "handle_error", _on_greenlet)  # noqa: B010  (mypy takes it for another signature)
    threading.excepthook = _on_thread
    logging.getLogger().addHandler(_watch)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Begin each test with nothing seen."""
    seen.clear()
    return (yield)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """Fail a test whose errors it does not expect, after its fixtures are torn down."""
    result = yield
    flush_notes(5)
    marks = item.iter_markers("expects_errors")
    expected = [re.compile(pattern) for mark in marks for pattern in mark.args]
    unexpected = [text for text in dict.fromkeys(seen) if not any(pattern.search(text) for pattern in expected)]
    if unexpected:
        pytest.fail("errors that the test does not expect:\n" + "\n".join(unexpected), pytrace=False)
    return result
